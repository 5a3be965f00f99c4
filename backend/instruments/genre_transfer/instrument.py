"""Genre transfer as an instrument of the house: a song in another clip's clothes, beside what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch

from backend.audio.io import resample
from backend.audio.loudness import integrated_lufs, limit, normalise_loudness
from backend.audio.spectral import LogMel
from backend.audio.waveform import FloatArray, Waveform
from backend.contract import Instrument, InstrumentSpec, Result
from backend.errors import CheckpointError
from backend.instruments.genre_transfer import classic, continuation, lil_data, listen, master, studio
from backend.instruments.genre_transfer.produce import example
from backend.instruments.genre_transfer.request import UPLOAD, GenreTransferRequest
from backend.instruments.genre_transfer.spectrogram import SAMPLE_RATE as IMAGE_RATE

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore
    from backend.job import Job

SAMPLE_RATE = studio.SAMPLE_RATE
LOUDEST_LUFS, QUIETEST_LUFS = -12.0, -30.0
SHOWN_BANDS, SHOWN_FRAMES = 128, 900
SHOWN_FLOOR_DB = -80.0
CLASSIC_PREVIEWS_S = 10  # iterations between two looks at the image


@dataclass(frozen=True, eq=False)
class WorkInProgress:
    """A look at what is being made.

    Attributes:
        image: ``[frequencies, frames]`` from 0 to 1, low frequencies first.
        sound: what can already be heard, or None.
        caption: what the image shows.
    """

    image: FloatArray
    sound: Waveform | None
    caption: str


class GenreTransfer(Instrument):
    """Two clips become one: the first's song with the second's sound."""

    spec: ClassVar[InstrumentSpec] = InstrumentSpec(
        "genre_transfer", "Genre transfer", SAMPLE_RATE, (lil_data.CHECKPOINT, continuation.CHECKPOINT), memory_mb=300
    )
    request_type = GenreTransferRequest

    def __init__(self) -> None:
        self._lil_data: lil_data.LilData | None = None
        self._store: CheckpointStore | None = None

    def load(self, store: CheckpointStore, device: torch.device) -> None:
        """Read Lil Data; it stays on the CPU, as do the separations and dictionaries around it."""
        self._lil_data, self._store = lil_data.load_lil_data(store), store

    def unload(self) -> None:
        """Drop the weights."""
        self._lil_data = self._store = None

    def generate(self, request: GenreTransferRequest, job: Job) -> Result:
        """Transfer, then listen.

        Returns:
            Waveforms: the result, then the content and the style at its loudness, for blind comparison (a continuation
            has no style); for ``listen`` the content as it is. Arrays: log-mel ``spectrogram_content``, ``_style``,
            ``_result`` ``[128, frames]`` in dB and ``spectrogram_difference`` (result less content); ``genres`` and
            what Lil Data hears, ``heard_content``, ``heard_style``, ``heard_result`` ``[genres]``, of which ``listen``
            has the first.

        Raises:
            CheckpointError: weights are not loaded, or VGG-19's are not there.
            Cancelled, DeadlineExceeded: from ``job``.
        """
        if self._lil_data is None or self._store is None:
            raise CheckpointError("The classifier of genre transfer is not loaded.")
        job.step(0, 100, "Reading the clips")
        content = chosen(request.content, request.content_sound)
        if request.method == "listen":
            job.step(50, 100, "Listening")
            return Result((content,), self._heard({"content": content}))
        style = None if request.method == "continuation" else chosen(request.style, request.style_sound)
        made = self._made(request, content, style, job)
        job.step(97, 100, "Listening to the result")
        sounds = level_matched([made, content] if style is None else [made, content, style])
        return Result(tuple(sounds), self._described(sounds))

    def _made(self, request: GenreTransferRequest, content: Waveform, style: Waveform | None, job: Job) -> Waveform:
        assert self._lil_data is not None
        assert self._store is not None
        if style is None:
            model = continuation.load_continuation(self._store)
            job.step(10, 100, "Writing the next five seconds")
            return _in_stereo(continuation.continue_clip(model, content, seed=int(request.seed)))
        if request.method == "classic":
            return self._classic(request, content, style, job)
        controls = studio.Controls(
            float(request.strength), float(request.timbre), float(request.rhythm), float(request.harmony),
            request.rhythm_donor,
        )  # fmt: skip

        def report(share: float, message: str, sound: Waveform | None) -> None:
            shown = None if sound is None else WorkInProgress(picture(sound), sound, message)
            job.step(95 * share, 100, message, shown)

        return studio.transfer(content, style, controls, int(request.seed), report)

    def _classic(self, request: GenreTransferRequest, content: Waveform, style: Waveform, job: Job) -> Waveform:
        assert self._lil_data is not None
        vgg = request.network == "vgg19"
        features = classic.vgg_features() if vgg else self._lil_data.activations
        recipe = classic.VGG_19 if vgg else classic.LIL_DATA

        def step(done: int, total: int, image: torch.Tensor) -> None:
            message = f"Iteration {(done - 1) % int(request.iterations) + 1}"
            look = done % CLASSIC_PREVIEWS_S == 0 or done == 1
            shown = WorkInProgress(image.numpy().astype(np.float32), None, message) if look else None
            job.step(95 * done / total, 100, message, shown)

        samples = classic.transfer(content, style, features, recipe, int(request.iterations), step)
        sound = limit(Waveform(np.nan_to_num(samples).clip(-4, 4), IMAGE_RATE))
        return master.finish(_in_stereo(sound).samples[:, : content.n_samples], content)

    @torch.no_grad()
    def _heard(self, sounds: Mapping[str, Waveform]) -> dict[str, Any]:
        assert self._lil_data is not None
        arrays: dict[str, Any] = {"genres": np.array(self._lil_data.genres, dtype=np.str_)}
        for name, sound in sounds.items():
            heard = dict(listen.hear(self._lil_data, sound))
            arrays[f"heard_{name}"] = np.array([heard[genre] for genre in self._lil_data.genres])
        return arrays

    def _described(self, sounds: list[Waveform]) -> dict[str, Any]:
        named = dict(zip(("result", "content", "style"), sounds, strict=False))
        arrays = self._heard(named) | {f"spectrogram_{name}": log_mel_db(sound) for name, sound in named.items()}
        before, after = arrays["spectrogram_content"], arrays["spectrogram_result"]
        frames = min(before.shape[1], after.shape[1])
        arrays["spectrogram_difference"] = after[:, :frames] - before[:, :frames]
        return arrays


def chosen(name: str, sound: Waveform | None) -> Waveform:
    """The uploaded sound or the bundled clip, in stereo at 44.1 kHz, without a constant."""
    if name != UPLOAD:
        return example(name).waveform
    assert sound is not None
    return _in_stereo(sound)


def _in_stereo(sound: Waveform) -> Waveform:
    """Two channels at `SAMPLE_RATE`, each with zero mean; of more than two channels the mean on both sides."""
    samples = sound.samples if sound.n_channels <= 2 else sound.mono().samples
    samples = samples - samples.mean(1, keepdims=True)
    sound = resample(Waveform(samples.clip(-1, 1), sound.sample_rate), SAMPLE_RATE)
    return sound if sound.n_channels == 2 else Waveform(np.repeat(sound.samples, 2, 0), SAMPLE_RATE)


def level_matched(sounds: list[Waveform]) -> list[Waveform]:
    """All at the loudness of the first, so that a comparison is not won by the louder one; limited."""
    wanted = integrated_lufs(sounds[0])
    target = float(np.clip(wanted, QUIETEST_LUFS, LOUDEST_LUFS)) if np.isfinite(wanted) else QUIETEST_LUFS
    return [normalise_loudness(sound, target) for sound in sounds]


def log_mel_db(sound: Waveform) -> FloatArray:
    """Log-mel spectrogram to look at, ``[128, at most 900 frames]`` in dB below full scale."""
    hop = max(512, -(-sound.n_samples // SHOWN_FRAMES))
    mel = LogMel(sound.sample_rate, 4096, hop, SHOWN_BANDS, f_min=30.0, f_max=16_000.0)
    with torch.no_grad():
        level = mel(torch.from_numpy(sound.mono().samples[0])).numpy() * (20 / np.log(10)) - 20 * np.log10(1024)
    return cast("FloatArray", np.maximum(level, SHOWN_FLOOR_DB).astype(np.float32))


def picture(sound: Waveform) -> FloatArray:
    """`log_mel_db` from 0 at the floor to 1 at full scale."""
    return cast("FloatArray", (1 - log_mel_db(sound) / SHOWN_FLOOR_DB).clip(0, 1).astype(np.float32))
