"""Calm as an instrument of the house."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from backend.audio.midi import Notes
from backend.audio.waveform import Waveform
from backend.contract import Instrument, InstrumentSpec, Result
from backend.errors import CheckpointError
from backend.instruments.calm import latent
from backend.instruments.calm.attributes import ATTRIBUTES, attributes_of
from backend.instruments.calm.model import CHECKPOINT, CalmVAE
from backend.instruments.calm.piece import CalmPiece, midi_of_piece
from backend.instruments.calm.pieces import bundled
from backend.instruments.calm.reading import read_pieces
from backend.instruments.calm.request import MIDI_KEY, SLIDERS, CalmRequest
from backend.instruments.calm.room import SAMPLE_RATE
from backend.instruments.calm.session import (
    Session,
    build_session,
    session_onset_jump_db,
    session_repeat_share,
    session_tempo_jump_bpm,
)
from backend.instruments.calm.sound import Mix, Player, Rendered, level_jump_db, with_programs
from backend.metrics.calmness import CUES, calm_cues

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore
    from backend.job import Job

LEAD_S, RING_S = 0.1, 3.0  # around a piece
SESSION_FADES_S = (20.0, 7.0)
MAX_BARS = 16


class Calm(Instrument):
    """Two pieces become the road between them, one becomes its relatives, several become a session."""

    spec: ClassVar[InstrumentSpec] = InstrumentSpec("calm", "Calm", SAMPLE_RATE, (CHECKPOINT,), memory_mb=700)
    request_type = CalmRequest

    def __init__(self) -> None:
        self._model: CalmVAE | None = None
        self._player: Player | None = None

    def load(self, store: CheckpointStore, device: torch.device) -> None:
        """Read the model's weights and the soundfont."""
        self._model = CalmVAE.from_store(store, device)
        self._player = Player()

    def unload(self) -> None:
        """Drop the model and the soundfont."""
        self._model = self._player = None

    def generate(self, request: CalmRequest, job: Job) -> Result:
        """Decode, play and measure.

        A path or a sample gives a waveform and notes for every piece, each a preview as soon as it is there; a session
        gives one of both, and its beginning as previews that grow.

        Raises:
            AudioError: an uploaded file is not MIDI that can be used.
            Cancelled, DeadlineExceeded: from ``job``.
        """
        if self._model is None or self._player is None:
            raise CheckpointError("The model of calm is not loaded.")
        job.step(0, 100, "Reading the pieces")
        anchors, remarks = self._anchors(self._model, request)
        if request.mode == "session":
            result = self._session(self._model, self._player, request, anchors, job)
        else:
            result = self._pieces(self._model, self._player, request, anchors, job)
        titles = np.array(request.titles(), dtype=np.str_)
        arrays = {**result.arrays, "anchor_titles": titles, "remarks": np.array(remarks, dtype=np.str_)}
        return Result(result.waveforms, arrays, result.notes)

    def _anchors(self, model: CalmVAE, request: CalmRequest) -> tuple[list[CalmPiece], list[str]]:
        """The pieces of the request with its sliders applied, and what was made of the uploaded ones."""
        files = {upload.key: upload for upload in request.uploads}
        bars = MAX_BARS if request.mode == "session" else int(request.bars)
        pieces, remarks = list[CalmPiece](), list[str]()
        for name in request.anchors:
            if name.startswith(MIDI_KEY):
                read, said = read_pieces(files[name].data, bars=bars, max_pieces=1)
                pieces.append(read[0])
                remarks += [f"{files[name].title}: {sentence}" for sentence in said]
            else:
                pieces.append(bundled(name).first_bars(min(bars, bundled(name).bars)))
        return [self._moved(model, request, piece) for piece in pieces], list(dict.fromkeys(remarks))

    def _moved(self, model: CalmVAE, request: CalmRequest, piece: CalmPiece) -> CalmPiece:
        amounts = {name: float(getattr(request, name)) for name in SLIDERS if getattr(request, name)}
        return latent.move(model, piece, amounts, constrain=request.in_scale) if amounts else piece

    def _pieces(
        self, model: CalmVAE, player: Player, request: CalmRequest, anchors: Sequence[CalmPiece], job: Job
    ) -> Result:
        """Every step of a path, or every sample."""
        if request.mode == "path":
            pieces = self._path(model, request)(anchors[0], anchors[1], int(request.steps))
        else:
            pieces = self._samples(model, request, anchors)
        played = [self._play(player, request, job, piece, index, len(pieces)) for index, piece in enumerate(pieces)]
        waveforms, tables = zip(*played, strict=True)
        return Result(waveforms, self._maps(model, pieces, anchors), tables)

    def _play(
        self, player: Player, request: CalmRequest, job: Job, piece: CalmPiece, index: int, total: int
    ) -> tuple[Waveform, Notes]:
        """One piece of several as sound and notes; the sound is the preview of its last step."""
        # The same seed for all: what differs between two steps is the music and never the player.
        notes = midi_of_piece(piece, humanise=1.0, rng=np.random.default_rng(int(request.seed)), start_s=LEAD_S)
        message, seconds = f"Playing piece {index + 1} of {total}", LEAD_S + piece.seconds + RING_S

        def heard(done_s: float, preview: Waveform | None) -> None:
            job.step(index + min(1.0, done_s / seconds), total, message)

        sound = player.play(notes, seconds, _mix(request, 0.05, RING_S), job.check, heard).waveform
        job.step(index + 1, total, message, preview=sound)
        return sound, with_programs(notes, request.sound)

    def _samples(self, model: CalmVAE, request: CalmRequest, anchors: Sequence[CalmPiece]) -> list[CalmPiece]:
        seeds = [(int(request.seed) + index) % 2**32 for index in range(int(request.variations))]
        if anchors:
            return [
                latent.around(model, anchors[0], request.radius, seed, constrain=request.in_scale) for seed in seeds
            ]
        drawn = (
            latent.sample(model, int(request.bars), request.temperature, seed, constrain=request.in_scale)
            for seed in seeds
        )
        return [self._moved(model, request, piece) for piece in drawn]

    def _path(self, model: CalmVAE, request: CalmRequest) -> Callable[[CalmPiece, CalmPiece, int], list[CalmPiece]]:
        method: Any = request.method
        return lambda a, b, steps: latent.path(model, a, b, steps, method, constrain=request.in_scale)

    def _session(
        self, model: CalmVAE, player: Player, request: CalmRequest, anchors: Sequence[CalmPiece], job: Job
    ) -> Result:
        """One long waveform: composing is the first tenth of the work."""

        def relative(piece: CalmPiece, round_number: int) -> CalmPiece:
            seed = (int(request.seed) + round_number) % 2**32
            return latent.around(model, piece, request.radius, seed, constrain=request.in_scale)

        session = build_session(
            anchors, self._path(model, request), float(request.minutes), int(request.seed), steps=int(request.steps),
            start_bpm=request.start_bpm, end_bpm=float(request.end_bpm), around=relative,
            progress=lambda share: job.step(10 * share, 100, "Composing"),
        )  # fmt: skip
        seconds = session.duration_s
        rendered = player.play(
            session.notes, seconds, _mix(request, *SESSION_FADES_S), job.check,
            lambda done_s, preview: job.step(10 + 90 * min(1.0, done_s / seconds), 100, "Playing", preview),
        )  # fmt: skip
        arrays = {**session_arrays(session, rendered), **self._maps(model, anchors, anchors)}
        return Result((rendered.waveform,), arrays, (with_programs(session.notes, request.sound),))

    def _maps(self, model: CalmVAE, pieces: Sequence[CalmPiece], anchors: Sequence[CalmPiece]) -> dict[str, Any]:
        """The latent map with the pieces on it, and what is measured on each of them."""
        cues = [
            calm_cues(midi_of_piece(piece), piece.tempo_bpm, piece.mode) if len(piece.notes) else {} for piece in pieces
        ]
        measured = [attributes_of(piece) for piece in pieces]
        return {
            "map_corpus": latent.bank_on_map(model),
            "map_path": latent.on_map(model, pieces),
            "map_anchors": latent.on_map(model, anchors) if anchors else np.zeros((0, 2)),
            "piece_tempo_bpm": np.array([piece.tempo_bpm for piece in pieces]),
            "piece_cues": np.array([[cue.get(name, np.nan) for name in CUES] for cue in cues]),
            "piece_attributes": np.array([[values[name] for name in ATTRIBUTES] for values in measured]),
        }


def session_arrays(session: Session, rendered: Rendered) -> dict[str, Any]:
    """What the page draws and the sheet prints of a session.

    Returns:
        ``tempo_bpm`` of every beat, ``beat_s`` where each is and where the last ends, ``loudness_lufs`` of every 400 ms
        ten times a second, ``route`` with a row for each stretch (start and end in seconds, anchor it comes from,
        anchor it goes to, share of the way), and single figures.
    """
    bar_s = session.beat_s[::4]
    route = [
        (bar_s[part.first_bar], bar_s[part.first_bar + part.bars], part.start, part.end, part.position)
        for part in session.placed
    ]
    return {
        "tempo_bpm": session.tempo_bpm,
        "beat_s": session.beat_s,
        "loudness_lufs": rendered.momentary_lufs,
        "route": np.array(route, np.float64),
        "integrated_lufs": np.array(rendered.loudness_lufs),
        "true_peak_dbtp": np.array(rendered.true_peak_dbtp),
        "level_jump_lu": np.array(level_jump_db(rendered.momentary_lufs, rendered.loudness_lufs)),
        "onset_jump_db": np.array(session_onset_jump_db(session)),
        "tempo_jump_bpm": np.array(session_tempo_jump_bpm(session)),
        "repeat_share": np.array(session_repeat_share(session)),
    }


def _mix(request: CalmRequest, fade_in_s: float, fade_out_s: float) -> Mix:
    return Mix(request.sound, float(request.loudness_lufs), fade_in_s, fade_out_s, float(request.treble))
