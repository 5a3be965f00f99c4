"""MusicVAE's encoder and decoders (arXiv 1803.05428, sections 3.1 and 3.2), for inference.

Music is ``int64 [batch, steps, parts]``: the class of each part at each sixteenth, see `sequences`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.instruments.calm.music_vae.config import MusicVaeConfig
from backend.instruments.calm.music_vae.lstm import LstmCell, LstmStack
from backend.job import Job

REPORT_EVERY = 16  # steps


@dataclass(frozen=True)
class Posterior:
    """The normal distribution q(z|x): ``mu`` and ``sigma [batch, z_size]``."""

    mu: Tensor
    sigma: Tensor


@dataclass(frozen=True)
class Decoded:
    """What a decoder chose: ``labels [batch, steps, parts]``, and ``logits [batch, steps, all classes]`` if asked."""

    labels: Tensor
    logits: Tensor | None


class Encoder(nn.Module):
    """Stacked bidirectional LSTMs; each layer reads both directions of the one below (section 3.1)."""

    def __init__(self, config: MusicVaeConfig) -> None:
        super().__init__()
        self.classes = config.classes
        widths = [sum(config.classes), *(2 * units for units in config.enc_rnn_size)]
        self.fw: Any = nn.ModuleList(map(LstmCell, widths, config.enc_rnn_size))
        self.bw: Any = nn.ModuleList(map(LstmCell, widths, config.enc_rnn_size))

    def forward(self, labels: Tensor, job: Job | None = None) -> Tensor:
        """The states that both directions of the last layer end in, ``[batch, 2 units]``."""
        steps, rows = labels.shape[1], labels.shape[0]
        ends: list[Tensor] = []
        below: Tensor | None = None  # [steps, batch, 2 units]
        for fw, bw in zip(self.fw, self.bw, strict=True):
            above = fw.bias.new_empty(steps, rows, 2 * fw.units)
            ends = [
                _unroll(fw, self._project(fw, labels, below), above[..., : fw.units], False, job),
                _unroll(bw, self._project(bw, labels, below), above[..., fw.units :], True, job),
            ]
            below = above
        return torch.cat(ends, -1)

    def _project(self, cell: LstmCell, labels: Tensor, below: Tensor | None) -> Tensor:
        """Every step's input and bias through the kernel at once, ``[steps, batch, 4 units]``."""
        if below is not None:
            return torch.addmm(cell.bias, below.flatten(0, 1), cell.from_input).view(*below.shape[:2], -1)
        tables = cell.from_input.split(self.classes)
        drive = functional.embedding(labels[..., 0].T, tables[0]).add_(cell.bias)
        for part, table in enumerate(tables[1:], 1):
            drive += functional.embedding(labels[..., part].T, table)
        return drive


def _unroll(cell: LstmCell, drive: Tensor, states: Tensor, backwards: bool, job: Job | None) -> Tensor:
    """Run one direction over ``drive [steps, batch, 4 units]``, write all states, return the one it ends in."""
    stack = LstmStack([cell], drive.shape[1], pack=True)
    end = states[0]
    for done, step in enumerate(reversed(range(len(drive))) if backwards else range(len(drive))):
        if job is not None and done % REPORT_EVERY == 0:
            job.step(done, len(drive), "reading backwards" if backwards else "reading")
        end = stack.step(drive[step])
        states[step].copy_(end)
    return end


class Conductor(nn.Module):
    """The LSTM that gives each segment its embedding (section 3.2). It reads nothing: in Magenta its input is zero."""

    def __init__(self, config: MusicVaeConfig) -> None:
        super().__init__()
        units = config.dec_rnn_size
        self.segments = config.segments
        self.initial_state = nn.Linear(config.z_size, 2 * sum(units))
        self.cells: Any = nn.ModuleList(map(LstmCell, (0, *units), units))

    def forward(self, z: Tensor) -> Tensor:
        """``[batch, z_size]`` → ``[segments, batch, units]``."""
        stack = LstmStack(self.cells, len(z))
        stack.start(self.initial_state(z).tanh())
        drive = self.cells[0].bias.expand(len(z), -1)
        return torch.stack([stack.step(drive).clone() for _ in range(self.segments)])


class PartDecoder(nn.Module):
    """The autoregressive LSTM of one part: it reads its last class beside the embedding, and starts from the latter.

    Args:
        classes: of the part.
        width: of the embedding: the conductor's units, or ``z_size`` without conductor.
        units: of each layer.
    """

    def __init__(self, classes: int, width: int, units: tuple[int, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.initial_state = nn.Linear(width, 2 * sum(units))
        self.cells: Any = nn.ModuleList(map(LstmCell, (classes + width, *units), units))
        self.output = nn.Linear(units[-1], classes)


class _PartRun:
    """One part while it is decoded: everything that does not depend on the last class is computed before it starts.

    Args:
        part: its weights.
        embeddings: ``[segments, batch, width]``.
    """

    def __init__(self, part: PartDecoder, embeddings: Tensor) -> None:
        table, from_embedding = part.cells[0].from_input.split([part.classes, embeddings.shape[-1]])
        self._part, rows = part, embeddings.shape[1]
        self._table = torch.cat([table, table.new_zeros(1, table.shape[1])])  # the first step reads zeros
        self._states = part.initial_state(embeddings).tanh()
        self._drives = torch.matmul(embeddings, from_embedding).add_(part.cells[0].bias)
        self._stack, self._segment = LstmStack(part.cells, rows, pack=True), 0
        self._drive = table.new_empty(rows, table.shape[1])
        self.last = torch.full((rows,), part.classes, device=table.device)
        self.logits = table.new_empty(rows, part.classes)

    def enter(self, segment: int) -> None:
        """Start a segment from its embedding; the last class is the previous segment's."""
        self._segment = segment
        self._stack.start(self._states[segment])

    def step(self, temperature: float, uniform: Tensor | None) -> Tensor:
        """The next class of every row, ``[batch]``, by `draw`."""
        torch.index_select(self._table, 0, self.last, out=self._drive)
        h = self._stack.step(self._drive.add_(self._drives[self._segment]))
        torch.addmm(self._part.output.bias, h, self._part.output.weight.T, out=self.logits)
        self.last = draw(self.logits, temperature, uniform)
        return self.last


def draw(logits: Tensor, temperature: float, uniform: Tensor | None) -> Tensor:
    """The class of each row of ``logits [rows, classes]`` where the cumulative softmax passes ``uniform``.

    Args:
        temperature: divides the logits; 0 takes the largest.
        uniform: ``[rows]`` or ``[1]`` in [0, 1); equal values move neighbouring rows to neighbouring classes. None
            only at temperature 0.
    """
    if temperature == 0 or uniform is None:
        return logits.argmax(-1)
    shares = (logits / temperature).softmax(-1).cumsum(-1)
    return (shares <= uniform[:, None] * shares[:, -1:]).sum(-1).clamp_(max=logits.shape[-1] - 1)


class MusicVae(nn.Module):
    """Encoder, posterior and decoder of one configuration. Random until a state dict is loaded.

    Args:
        config: sizes.
    """

    def __init__(self, config: MusicVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.mu = nn.Linear(2 * config.enc_rnn_size[-1], config.z_size)
        self.sigma = nn.Linear(2 * config.enc_rnn_size[-1], config.z_size)
        self.conductor = Conductor(config) if config.segments > 1 else None
        width = config.z_size if self.conductor is None else config.dec_rnn_size[-1]
        self.parts: Any = nn.ModuleList(PartDecoder(classes, width, config.dec_rnn_size) for classes in config.classes)
        self.requires_grad_(False).eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mu.weight.device

    @torch.inference_mode()
    def posterior(self, labels: Tensor, job: Job | None = None) -> Posterior:
        """q(z|x) of ``labels [batch, steps, parts]`` (equations 6 and 7).

        ``mu = W h + b`` and ``sigma = log(exp(W' h + b') + 1)``, where h is what the encoder ends in.

        Raises:
            Cancelled, DeadlineExceeded: by the job, which is told of every bar in each direction of each layer.
        """
        h = self.encoder(labels, job)
        return Posterior(self.mu(h), functional.softplus(self.sigma(h)))

    @torch.inference_mode()
    def decode(
        self,
        z: Tensor,
        temperature: float = 0.0,
        uniform: Tensor | None = None,
        job: Job | None = None,
        keep_logits: bool = False,
    ) -> Decoded:
        """Music of the latent vectors, all rows at once.

        Args:
            z: ``[batch, z_size]``.
            temperature: of `draw`.
            uniform: ``[steps, batch or 1, parts]`` in [0, 1).
            job: told of every bar.
            keep_logits: return the logits as well.

        Raises:
            Cancelled, DeadlineExceeded: by the job.
        """
        steps, segments = self.config.steps, self.config.segments
        embeddings = z[None] if self.conductor is None else self.conductor(z)
        runs = [_PartRun(part, embeddings) for part in self.parts]
        labels = torch.empty(steps, len(z), len(runs), dtype=torch.int64, device=z.device)
        logits = z.new_empty(steps, len(z), sum(self.config.classes)) if keep_logits else None
        for step in range(steps):
            if job is not None and step % REPORT_EVERY == 0:
                job.step(step, steps, f"bar {step // REPORT_EVERY + 1} of {self.config.bars}")
            for index, run in enumerate(runs):
                if step % (steps // segments) == 0:
                    run.enter(step // (steps // segments))
                labels[step, :, index] = run.step(temperature, None if uniform is None else uniform[step, :, index])
            if logits is not None:
                torch.cat([run.logits for run in runs], -1, out=logits[step])
        return Decoded(labels.transpose(0, 1), None if logits is None else logits.transpose(0, 1))
