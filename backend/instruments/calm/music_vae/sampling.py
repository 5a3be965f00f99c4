"""Sample, encode, decode and interpolate with a MusicVAE, as Magenta's ``TrainedModel`` does; music is `Labels`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError, RequestError
from backend.instruments.calm.music_vae.config import MusicVaeConfig, from_plain
from backend.instruments.calm.music_vae.model import MusicVae, Posterior
from backend.instruments.calm.music_vae.sequences import Labels
from backend.job import Job

PATHS = ("slerp", "lerp")
ENCODED_STEPS = 8192  # at once: bounds the memory of the projected inputs


def checkpoint_name(config: MusicVaeConfig) -> str:
    """The name in the store: ``calm.hierdec_mel_16bar``."""
    return f"calm.{config.name.replace('-', '_')}"


def load_model(store: CheckpointStore, name: str, device: torch.device) -> MusicVae:
    """A model that `import_checkpoint` put into the store.

    Raises:
        CheckpointError: no such checkpoint, damaged, or no MusicVAE.
    """
    config = from_plain(store.config(name))
    with torch.device("meta"):  # no time and no memory for weights that are replaced at once
        model = MusicVae(config)
    try:
        model.load_state_dict(store.load(name), assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"The weights of {name} are not those of {config.name}.") from error
    return model.requires_grad_(False).to(device)


def encode(model: MusicVae, pieces: Sequence[Labels], job: Job | None = None) -> Posterior:
    """q(z|x) of each piece, on the CPU.

    Args:
        pieces: each ``[steps, parts]``, as long as the model's.
        job: told of every bar.

    Raises:
        RequestError: no pieces, or one of another length.
        Cancelled, DeadlineExceeded: by the job.
    """
    shape = (model.config.steps, len(model.config.classes))
    if not pieces or any(piece.shape != shape for piece in pieces):
        found = [piece.shape for piece in pieces if piece.shape != shape][:1]
        raise RequestError("pieces", found, f"one or more of {shape[0]} steps and {shape[1]} parts")
    labels = torch.from_numpy(np.stack(pieces))
    batches = labels.split(max(1, ENCODED_STEPS // shape[0]))
    posteriors = [model.posterior(rows.to(model.device), job) for rows in batches]
    mu, sigma = (torch.cat([getattr(posterior, name) for posterior in posteriors]).cpu() for name in ("mu", "sigma"))
    return Posterior(mu, sigma)


def decode(
    model: MusicVae,
    z: Tensor,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    shared_noise: bool = False,
    job: Job | None = None,
) -> Labels:
    """Music of latent vectors, ``int64 [n, steps, parts]``.

    Args:
        z: ``[n, z_size]``.
        temperature: 0 is greedy and needs no generator.
        generator: of a CPU; drawn from there so that every device hears the same.
        shared_noise: all rows draw from one noise, so that a path changes only where its logits do.
        job: told of every bar.

    Raises:
        RequestError: a temperature below 0, a ``z`` of another width, or no generator where one is needed.
        Cancelled, DeadlineExceeded: by the job.
    """
    if not 0 <= temperature < float("inf"):
        raise RequestError("temperature", temperature, "a number from 0")
    if z.ndim != 2 or z.shape[1] != model.config.z_size or not len(z):
        raise RequestError("z", tuple(z.shape), f"one or more rows of {model.config.z_size} numbers")
    uniform = None
    if temperature > 0:
        if generator is None:
            raise RequestError("generator", None, "a torch.Generator for a temperature above 0")
        rows = 1 if shared_noise else len(z)
        uniform = torch.rand(model.config.steps, rows, len(model.config.classes), generator=generator).to(model.device)
    decoded = model.decode(z.to(model.device, torch.float32), temperature, uniform, job)
    labels: Labels = decoded.labels.cpu().numpy()
    return labels


def sample(
    model: MusicVae, n: int, generator: torch.Generator, temperature: float = 1.0, job: Job | None = None
) -> Labels:
    """``n`` pieces from the prior, z ~ N(0, 1).

    Raises:
        RequestError: ``n`` below 1, or a temperature below 0.
        Cancelled, DeadlineExceeded: by the job.
    """
    if n < 1:
        raise RequestError("n", n, "at least 1")
    z = torch.randn(n, model.config.z_size, generator=generator)
    return decode(model, z, temperature, generator, job=job)


def interpolate(
    model: MusicVae,
    start: Labels,
    end: Labels,
    n_steps: int,
    path: str = "slerp",
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    shared_noise: bool = True,
    job: Job | None = None,
) -> Labels:
    """The road between two pieces, both reconstructed ends included, ``int64 [n_steps, steps, parts]``.

    Args:
        start: ``[steps, parts]``.
        end: likewise.
        n_steps: pieces on the road, at least 2.
        path: ``slerp`` keeps the density of the music, ``lerp`` thins it towards the middle.
        temperature: as `decode`.
        generator: as `decode`.
        shared_noise: as `decode`.
        job: told of every bar.

    Raises:
        RequestError: fewer than two steps, an unknown path, or what `encode` and `decode` refuse.
        Cancelled, DeadlineExceeded: by the job.
    """
    mu = encode(model, [start, end]).mu.numpy()
    z = torch.from_numpy(road(mu[0], mu[1], n_steps, path))
    return decode(model, z, temperature, generator, shared_noise, job)


def road(
    start: npt.NDArray[np.float32], end: npt.NDArray[np.float32], n_steps: int, path: str = "slerp"
) -> npt.NDArray[np.float32]:
    """``[n_steps, z_size]`` at equal distances from ``start`` to ``end``.

    Raises:
        RequestError: fewer than two steps or an unknown path.
    """
    if n_steps < 2:
        raise RequestError("n_steps", n_steps, "at least 2")
    if path not in PATHS:
        raise RequestError("path", path, " or ".join(PATHS))
    a, b = start.astype(np.float64), end.astype(np.float64)
    times = np.linspace(0.0, 1.0, n_steps)
    rows = [slerp(a, b, t) if path == "slerp" else (1 - t) * a + t * b for t in times]
    return np.stack(rows).astype(np.float32)


def slerp(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], t: float) -> npt.NDArray[np.float64]:
    """Spherical interpolation (White 2016, arXiv 1609.04468) of vectors of any length, as in Magenta.

    ``(sin((1 - t) w) a + sin(t w) b) / sin(w)``, where w is the angle between them; the straight line where they are
    parallel or one is zero.
    """
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    cosine = float(np.clip(a @ b / norms, -1.0, 1.0)) if norms else 1.0
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-9:
        return (1 - t) * a + t * b
    between: npt.NDArray[np.float64] = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    return between
