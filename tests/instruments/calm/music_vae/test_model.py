from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.checkpoints import CheckpointStore
from backend.errors import Cancelled, CheckpointError
from backend.instruments.calm.music_vae.config import (
    CONFIGS,
    HIERDEC_TRIO_16BAR,
    TINY,
    MusicVaeConfig,
    from_plain,
)
from backend.instruments.calm.music_vae.lstm import LstmCell, LstmStack
from backend.instruments.calm.music_vae.model import Encoder, MusicVae, PartDecoder, draw
from backend.instruments.calm.music_vae.sampling import load_model
from backend.job import Job, Step

FLAT = dataclasses.replace(TINY, segments=1)
TRIO = dataclasses.replace(HIERDEC_TRIO_16BAR, bars=2, segments=2, z_size=6, enc_rnn_size=(10, 8), dec_rnn_size=(9, 7))


def build(config: MusicVaeConfig) -> MusicVae:
    """A model whose biases count and whose choices vary."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = MusicVae(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.5, 0.5)
            elif name.endswith("output.weight"):
                parameter.mul_(5)
    return model


def some_labels(config: MusicVaeConfig, rows: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    columns = [torch.randint(n, (rows, config.steps), generator=generator) for n in config.classes]
    return torch.stack(columns, -1)


def fill(target: nn.LSTM, suffix: str, cell: LstmCell) -> None:
    """Our parameters into torch's: gates i, f, g, o as rows."""
    i, f, o, g = cell.kernel.split(cell.units, 1)
    rows = torch.cat([i, f, g, o], 1).T
    bias_i, bias_f, bias_o, bias_g = cell.bias.split(cell.units)
    with torch.no_grad():
        getattr(target, f"weight_ih_{suffix}").copy_(rows[:, : cell.inputs])
        getattr(target, f"weight_hh_{suffix}").copy_(rows[:, cell.inputs :])
        getattr(target, f"bias_ih_{suffix}").copy_(torch.cat([bias_i, bias_f, bias_g, bias_o]))
        getattr(target, f"bias_hh_{suffix}").zero_()


@torch.no_grad()
def test_a_stack_of_two_layers_steps_as_torchs_lstm() -> None:
    cells = [LstmCell(5, 4), LstmCell(4, 4)]
    reference = nn.LSTM(5, 4, 2)
    for layer, cell in enumerate(cells):
        cell.bias.uniform_(-1, 1)
        fill(reference, f"l{layer}", cell)
    x, state = torch.randn(6, 3, 5), torch.randn(3, 16)
    c0, h0, c1, h1 = state.split(4, 1)
    expected, _ = reference(x, (torch.stack([h0, h1]), torch.stack([c0, c1])))
    stack = LstmStack(cells, 3)
    stack.start(state)
    found = torch.stack([stack.step(cells[0].bias + step @ cells[0].from_input).clone() for step in x])
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_the_encoder_is_torchs_bidirectional_lstm_over_one_hot_vectors() -> None:
    config = dataclasses.replace(TRIO, enc_rnn_size=(10, 10))
    encoder = Encoder(config)
    reference = nn.LSTM(sum(config.classes), 10, 2, batch_first=True, bidirectional=True)
    for layer in range(2):
        for cell, suffix in ((encoder.fw[layer], f"l{layer}"), (encoder.bw[layer], f"l{layer}_reverse")):
            cell.bias.uniform_(-1, 1)
            fill(reference, suffix, cell)
    labels = some_labels(config)
    one_hot = torch.cat([functional.one_hot(labels[..., i], n) for i, n in enumerate(config.classes)], -1).float()
    _, (last, _) = reference(one_hot)
    torch.testing.assert_close(encoder(labels), torch.cat([last[2], last[3]], -1))


def plain_logits(part: PartDecoder, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Equation by equation: one-hot vector beside the embedding, unfused gates; teacher-forced by ``labels``."""
    rows, steps = labels.shape
    previous, found = torch.zeros(rows, part.classes), []
    for step in range(steps):
        segment = step * len(embeddings) // steps
        if step % (steps // len(embeddings)) == 0:
            sizes = [size for cell in part.cells for size in (cell.units, cell.units)]
            state = list(part.initial_state(embeddings[segment]).tanh().split(sizes, -1))
        x = torch.cat([previous, embeddings[segment]], -1)
        for layer, cell in enumerate(part.cells):
            i, f, o, g = (torch.cat([x, state[2 * layer + 1]], -1) @ cell.kernel + cell.bias).split(cell.units, -1)
            state[2 * layer] = f.sigmoid() * state[2 * layer] + i.sigmoid() * g.tanh()
            x = state[2 * layer + 1] = o.sigmoid() * state[2 * layer].tanh()
        found.append(part.output(x))
        previous = functional.one_hot(labels[:, step], part.classes).float()
    return torch.stack(found, 1)


@pytest.mark.parametrize("config", [FLAT, TINY, TRIO], ids=["flat", "hierarchical", "trio"])
@torch.no_grad()
def test_the_fast_decoder_follows_the_equations(config: MusicVaeConfig) -> None:
    model = build(config)
    z = torch.randn(4, config.z_size, generator=torch.Generator().manual_seed(0))
    decoded = model.decode(z, keep_logits=True)
    embeddings = z[None] if model.conductor is None else model.conductor(z)
    expected = [plain_logits(part, embeddings, decoded.labels[..., i]) for i, part in enumerate(model.parts)]
    assert decoded.logits is not None
    torch.testing.assert_close(decoded.logits, torch.cat(expected, -1))
    greedy = torch.stack([logits.argmax(-1) for logits in expected], -1)
    assert decoded.labels.equal(greedy)
    assert len(decoded.labels[..., 0].unique()) > 3


def test_what_is_drawn_is_distributed_as_the_softmax_of_the_tempered_logits() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    counts = draw(logits.expand(10_000, -1), 0.5, uniform).bincount(minlength=4)
    torch.testing.assert_close(counts / 10_000, (logits / 0.5).softmax(0), atol=2e-4, rtol=0)


def test_what_is_drawn_is_a_class_even_at_the_ends_of_the_range() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]])
    assert draw(logits, 1.0, torch.tensor([0.0])).item() == 1
    assert draw(logits, 1.0, torch.tensor([1.0 - 2**-24])).item() == 2


def test_a_row_is_decoded_alike_alone_and_among_others() -> None:
    model = build(TINY)
    z = torch.randn(5, TINY.z_size, generator=torch.Generator().manual_seed(3))
    together = model.decode(z, keep_logits=True)
    alone = model.decode(z[2:3], keep_logits=True)
    assert together.labels[2:3].equal(alone.labels)
    assert together.logits is not None and alone.logits is not None
    torch.testing.assert_close(together.logits[2:3], alone.logits)


def test_sigma_is_positive_and_the_posterior_is_finite() -> None:
    posterior = build(TRIO).posterior(some_labels(TRIO))
    assert posterior.mu.shape == posterior.sigma.shape == (3, TRIO.z_size)
    assert posterior.mu.isfinite().all() and (posterior.sigma > 0).all()


def reports_until_cancelled(run: Callable[[Job], object]) -> list[str]:
    """Cancel at the first report."""
    seen = []

    def report(step: Step) -> None:
        seen.append(step.message)
        job.cancel()

    job = Job(report)
    with pytest.raises(Cancelled):
        run(job)
    return seen


def test_reading_and_decoding_stop_at_the_next_bar_after_a_cancel() -> None:
    model = build(dataclasses.replace(TINY, bars=4))
    labels, z = some_labels(model.config), torch.zeros(1, TINY.z_size)
    assert reports_until_cancelled(lambda job: model.posterior(labels, job)) == ["reading"]
    assert reports_until_cancelled(lambda job: model.decode(z, job=job)) == ["bar 1 of 4"]


def test_a_saved_model_is_loaded_alike_without_touching_a_generator(tmp_path: Path) -> None:
    model, store = build(TRIO), CheckpointStore(tmp_path)
    store.save("calm.trio", model.state_dict(), dataclasses.asdict(TRIO), {})
    before = torch.random.get_rng_state()
    loaded = load_model(store, "calm.trio", torch.device("cpu"))
    assert torch.random.get_rng_state().equal(before)
    assert loaded.config == TRIO
    z = torch.ones(1, TRIO.z_size)
    assert loaded.decode(z, keep_logits=True).logits.equal(model.decode(z, keep_logits=True).logits)  # type: ignore


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save("calm.other", {"x": torch.zeros(1)}, {"dim": 4}, {})
    with pytest.raises(CheckpointError, match="not a MusicVAE"):
        load_model(store, "calm.other", torch.device("cpu"))
    store.save("calm.flat", build(FLAT).state_dict(), dataclasses.asdict(TRIO), {})
    with pytest.raises(CheckpointError, match=r"The weights of calm\.flat are not those of hierdec-trio_16bar"):
        load_model(store, "calm.flat", torch.device("cpu"))


@pytest.mark.parametrize("config", [*CONFIGS.values(), TINY], ids=lambda config: config.name)
def test_a_configuration_survives_its_manifest(config: MusicVaeConfig, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save("calm.x", {"x": torch.zeros(1)}, dataclasses.asdict(config), {})
    assert from_plain(store.config("calm.x")) == config
