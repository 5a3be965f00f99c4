"""Training: what becomes a clip, what the loss teaches, what is measured afterwards, and the whole of it in small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.checkpoints import CheckpointStore
from backend.corpus.score_cache import cache_path, save_score, split_of
from backend.corpus.scores import NOTE, Score
from backend.instruments.calm import statistics
from backend.instruments.calm import train as training
from backend.instruments.calm.attributes import in_scale
from backend.instruments.calm.data import Clips, clips_of_score, prepare
from backend.instruments.calm.evaluate import Sizes, evaluate
from backend.instruments.calm.held_out import most_alike, of_clips
from backend.instruments.calm.latent import decode_rolls
from backend.instruments.calm.model import CHECKPOINT, TINY, CalmVAE
from backend.instruments.calm.piece import roll
from backend.instruments.calm.similarity import note_f1
from backend.instruments.calm.train import CalmObjective, CalmTask, Weights, octave_shift


def score(source: str, seed: int = 0, bars: int = 17, transpose: int = 0) -> Score:
    """Quiet diatonic music: a tune in quarter notes over held thirds; the last bar is one long note."""
    rng = np.random.default_rng(seed)
    white = np.array([60, 62, 64, 65, 67, 69, 71, 72])
    rows = [(beat, 1.0, int(rng.choice(white)) + transpose, 80, 0) for beat in range(4 * bars - 4)]
    rows += [(4.0 * bar, 4.0, p + transpose, 80, 1) for bar in range(bars) for p in rng.choice([(48, 52), (43, 50)])]
    return Score(source, np.array(sorted(rows), NOTE), 2, 4, 4)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    names = [f"made/{i}" for i in range(200)]
    for first, split, count in ((0, "train", 8), (20, "valid", 4), (40, "test", 6)):
        for i, name in enumerate([n for n in names if split_of(n) == split][:count]):
            save_score(score(name, seed=first + i, transpose=i % 5), cache_path(folder, name))
    return folder


@pytest.fixture(scope="module")
def clips(scores: Path, tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return prepare(scores, tmp_path_factory.mktemp("clips"))


def test_a_clip_is_its_score_in_the_normal_key_on_its_bar_lines() -> None:
    (piece, first), *more = clips_of_score(score("made/0", transpose=3))
    assert first == 0 and piece.bars == 16 and piece.mode == "major" and piece.transpose == 3 and len(more) == 1
    expected = score("made/0").notes
    found = {(int(n["step"]), int(n["pitch"])) for n in piece.notes}
    assert found == {(int(n["onset"] * 4), int(n["pitch"])) for n in expected if n["onset"] < 64}


def test_crowded_chromatic_and_unquantised_music_is_left_out() -> None:
    plain = score("made/0")
    chromatic, crowded, loose = (Score(plain.source, plain.notes.copy(), 2, 4, 4) for _ in range(3))
    chromatic.notes["pitch"] = np.random.default_rng(0).integers(48, 84, len(plain.notes))
    crowded.notes["onset"] /= 8
    loose.notes["onset"] += np.random.default_rng(0).choice([0, 1 / 8, 1 / 3], len(plain.notes))
    for spoilt in (chromatic, crowded, loose):
        assert clips_of_score(Score(plain.source, np.sort(spoilt.notes, order="onset"), 2, 4, 4)) == []


def test_prepared_clips_are_split_by_piece_and_read_again_from_disk(scores: Path, tmp_path: Path) -> None:
    made = prepare(scores, tmp_path)
    again = prepare(tmp_path / "nowhere", tmp_path)
    assert all((made.arrays()[name] == again.arrays()[name]).all() for name in made.arrays())
    splits = {name: set(made.split(name).source) for name in ("train", "valid", "test")}
    assert all(splits.values()) and not splits["train"] & splits["test"] and not splits["train"] & splits["valid"]
    piece = made.piece(0, 8)
    assert piece.bars == 8 and in_scale(roll(piece)[0], piece.mode) == 1.0
    assert (made.rolls(np.array([0]))[0, 0, :8].reshape(128, 88) == roll(piece)[0]).all()
    with pytest.raises(FileNotFoundError, match="no parsed score"):
        prepare(tmp_path / "nowhere", tmp_path / "other")


def test_a_passage_in_two_editions_is_found_and_not_held_out(clips: Clips) -> None:
    test, train = clips.split("test"), clips.split("train")
    assert (most_alike(test, train, batch=3) < 0.5).all() and (most_alike(train, train) == 1.0).all()
    again = {name: np.concatenate([a, getattr(test, name)[:1]]) for name, a in clips.arrays().items()}
    again["source"] = np.array([*clips.source, train.source[0]])
    held_out = of_clips(Clips(**again), len(test), 0)
    assert held_out.about["left_out_as_other_editions"] == 1 == len(test) - len(held_out.pieces)


def test_an_octave_moves_every_note_or_none() -> None:
    rolls = np.zeros((2, 4, 16, 88), np.uint8)
    rolls[0, 0, 0, [30, 50]] = 1
    assert np.argwhere(octave_shift(rolls, 12)).tolist() == [[0, 0, 0, 42], [0, 0, 0, 62]]
    assert np.argwhere(octave_shift(rolls, -12)).tolist() == [[0, 0, 0, 18], [0, 0, 0, 38]]
    rolls[1, 0, 0, 5] = 1
    assert octave_shift(rolls, -12) is rolls


def test_batches_hold_notes_and_their_attributes(clips: Clips) -> None:
    batches = CalmTask(clips, 32).batches(torch.Generator().manual_seed(0))
    for _ in range(6):
        batch = next(batches)
        count, _, bars, _, _ = batch["rolls"].shape
        assert count * bars == 32 and bars in (4, 8, 16) and batch["attributes"].shape == (count, bars, 4)
        assert (batch["rolls"].sum((1, 2, 3, 4)) > 0).all() and set(batch["rolls"].unique().tolist()) == {0, 1}


def test_the_loss_teaches_every_weight_and_beta_rises(clips: Clips) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        objective = CalmObjective(TINY).train()
        for progress, share in ((0.05, 0.0), (1.0, 1.0), (0.25, 0.5)):
            objective.on_progress(progress)
            assert objective.beta == pytest.approx(share * Weights.beta)
        loss, figures = objective(next(CalmTask(clips, 32).batches(torch.Generator().manual_seed(0))))
    loss.backward()
    assert {"onset", "hold", "kl", "attributes", "mixing"} <= set(figures)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())


def test_two_passages_are_learned_by_heart(clips: Clips) -> None:
    task = CalmTask(clips, 32)
    batch = task.batch_of(clips.rolls(np.array([0, 1]))[:, :, :4])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        objective = CalmObjective(TINY).train()
        optimizer = torch.optim.AdamW(objective.parameters(), 5e-3)
        for _ in range(150):
            optimizer.zero_grad()
            objective(batch)[0].backward()
            optimizer.step()
    model = objective.model.eval()
    with torch.no_grad():
        found, holds = decode_rolls(model, model.encode(batch["rolls"].float())[0])
    truth = batch["rolls"].numpy().transpose(1, 0, 2, 3, 4).reshape(2, *found.shape) > 0
    assert min(note_f1(a, b) for a, b in zip(found, truth[0], strict=True)) > 0.95
    assert (holds == truth[1]).mean() > 0.99


def test_a_direction_raises_its_attribute_and_leaves_the_others() -> None:
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(4000, 12)) @ rng.normal(size=(12, 12))
    reading = rng.normal(size=(12, 4))
    attributes = latents @ reading + 3.0
    attributes[::50, 1] = np.nan
    moves, spread = statistics.directions(latents, attributes)
    assert spread == pytest.approx(np.nanstd(attributes, 0), rel=0.05)
    assert moves @ reading / spread == pytest.approx(np.eye(4), abs=0.05)


class Hesitant(CalmVAE):
    """A model that plays half a note more on every beat when the first number of its latent rises by one."""

    def encode(self, rolls: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.zeros(*rolls.shape[:1], rolls.shape[2], self.config.latent_dim)
        return z, z

    def decode(self, z: Tensor) -> Tensor:
        logits = torch.full((*z.shape[:1], 2, z.shape[1], 16, 88), -20.0)
        for voice in range(6):
            logits[:, 0, :, ::4, 30 + 3 * voice] = 40 * (2.5 + 0.5 * z[..., :1] - voice)
        return logits


def test_a_direction_is_lengthened_until_what_is_asked_is_heard(clips: Clips) -> None:
    model = Hesitant(TINY)
    model.directions[0, 0], model.directions[1, 1] = 1.0, 1.0
    statistics._lengthen(model, clips.split("valid"))
    assert 1.75 <= float(model.directions[0, 0]) <= 2.0 and float(model.directions[1, 1]) == 1.0


def test_the_whole_training_runs_is_resumed_evaluated_and_stored(scores: Path, tmp_path: Path) -> None:
    arguments = ["--scores", str(scores), "--out", str(tmp_path), "--minutes", "0.03", "--batch-bars", "32"]
    options = training.parser().parse_args([*arguments, "--precision", "no", "--threads", "1"])
    model = training.train(options, TINY)
    assert float(model.latent_sd.min()) > 0 and float(model.bank.abs().sum()) > 0
    assert model.directions.isfinite().all() and min(abs(float(model.floor) - f) for f in statistics.FLOORS) < 1e-6
    again = training.train(options, TINY)  # the budget is used: nothing is learned, everything is measured again
    back = training.load_trained(tmp_path)
    assert all(again.state_dict()[k].equal(v) for k, v in back.state_dict().items())
    sizes = Sizes(clips=3, pairs=4, samples=3, moved=1, session_minutes=0)
    held_out = of_clips(prepare(scores, tmp_path), sizes.clips, 0)
    figures = evaluate(back, back, held_out, sizes, 0)
    assert json.loads(json.dumps(figures))["interpolation"]["pairs"] == 4
    assert 0 <= figures["reconstruction_note_f1_copy"] <= 1 and set(figures["attribute_correlation"]) == {
        "density", "register", "brightness", "rhythm",
    }  # fmt: skip
    store = CheckpointStore(tmp_path / "store")
    training.bundle(tmp_path, store, {"reconstruction_note_f1": figures["reconstruction_note_f1"]})
    assert CalmVAE.from_store(store).config == TINY and store.entry(CHECKPOINT).storage == "float16"
