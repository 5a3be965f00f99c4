"""Calm as an instrument of the house."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.midi import Notes
from backend.audio.waveform import Waveform
from backend.contract import Instrument, InstrumentSpec, Result
from backend.errors import CheckpointError
from backend.instruments.calm import latent
from backend.instruments.calm.attributes import ATTRIBUTES, attributes_of
from backend.instruments.calm.foreign import REMARK, Foreign, passages
from backend.instruments.calm.model import CHECKPOINT, CalmVAE
from backend.instruments.calm.music_vae.import_checkpoint import import_apart
from backend.instruments.calm.music_vae.model import MusicVae
from backend.instruments.calm.piece import CalmPiece, midi_of_piece
from backend.instruments.calm.pieces import bundled
from backend.instruments.calm.reading import read_pieces
from backend.instruments.calm.request import MIDI_KEY, OWN_MODEL, SLIDERS, CalmRequest, ImportRequest
from backend.instruments.calm.room import LEAD_S, RING_S, SAMPLE_RATE
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

SESSION_FADES_S = (20.0, 7.0)
MAX_BARS = 16
MOST_ON_MAP = 64  # stretches of a session; a longer one goes on among the same pieces


class Calm(Instrument):
    """Two pieces become the road between them, one becomes its relatives, several become a session."""

    spec: ClassVar[InstrumentSpec] = InstrumentSpec("calm", "Calm", SAMPLE_RATE, (CHECKPOINT,), memory_mb=700)
    request_type = CalmRequest

    def __init__(self) -> None:
        self._model: CalmVAE | None = None
        self._player: Player | None = None
        self._foreign: Foreign | None = None

    def load(self, store: CheckpointStore, device: torch.device) -> None:
        """Read the model's weights and the soundfont."""
        self._model = CalmVAE.from_store(store, device)
        self._player, self._foreign = Player(), Foreign(store, device)

    def unload(self) -> None:
        """Drop the model and the soundfont."""
        self._model = self._player = self._foreign = None

    def generate(self, request: CalmRequest | ImportRequest, job: Job) -> Result:
        """Decode, play and measure.

        A path, samples or anchors give a waveform and notes for every piece, each a preview as soon as it is there; a
        session gives one of both, and its beginning as previews that grow. An import gives the ``checkpoint``'s name.

        Raises:
            AudioError: an uploaded file is not MIDI that can be used.
            CheckpointError: a checkpoint to be imported is damaged or of another configuration.
            RequestError: the model asked for was not imported, or cannot do this.
            Cancelled, DeadlineExceeded: from ``job``.
        """
        if self._model is None or self._player is None or self._foreign is None:
            raise CheckpointError("The model of calm is not loaded.")
        self._foreign.forget()
        if isinstance(request, ImportRequest):
            return imported(request, job)
        job.step(0, 100, "Reading the pieces")
        anchors, remarks = self._anchors(self._model, request)
        if request.model != OWN_MODEL and request.mode != "listen":
            model = self._foreign.model(request.model, request.weights)
            result = self._passages(model, self._player, request, anchors, job)
            remarks.append(REMARK.format(name=request.model))
        elif request.mode == "session":
            result = self._session(self._model, self._player, request, anchors, job)
        else:
            result = self._pieces(self._model, self._player, request, anchors, job)
        titles = np.array(request.titles(), dtype=np.str_)
        arrays = {**result.arrays, "anchor_titles": titles, "remarks": np.array(remarks, dtype=np.str_)}
        return Result(result.waveforms, arrays, result.notes)

    def _anchors(self, model: CalmVAE, request: CalmRequest) -> tuple[list[CalmPiece], list[str]]:
        """The pieces of the request with its sliders applied, and what was made of the uploaded ones."""
        files = {upload.key: upload for upload in request.uploads}
        own = request.model == OWN_MODEL or request.mode == "listen"
        bars = int(request.bars) if own and request.mode != "session" else MAX_BARS
        pieces, remarks = list[CalmPiece](), list[str]()
        for name in request.anchors:
            if name.startswith(MIDI_KEY):
                read, said = read_pieces(files[name].data, bars=bars, max_pieces=1)
                pieces.append(read[0])
                remarks += [f"{files[name].title}: {sentence}" for sentence in said]
            else:
                pieces.append(bundled(name).first_bars(min(bars, bundled(name).bars)))
        if own and request.mode != "listen":
            pieces = [self._moved(model, request, piece) for piece in pieces]
        return pieces, list(dict.fromkeys(remarks))

    def _moved(self, model: CalmVAE, request: CalmRequest, piece: CalmPiece) -> CalmPiece:
        amounts = {name: float(getattr(request, name)) for name in SLIDERS if getattr(request, name)}
        return latent.move(model, piece, amounts, constrain=request.in_scale) if amounts else piece

    def _pieces(
        self, model: CalmVAE, player: Player, request: CalmRequest, anchors: Sequence[CalmPiece], job: Job
    ) -> Result:
        """Every step of a path, every sample, or every anchor."""
        if request.mode == "path":
            pieces = self._path(model, request)(anchors[0], anchors[1], int(request.steps))
        elif request.mode == "listen":
            pieces = list(anchors)
        else:
            pieces = self._samples(model, request, anchors)
        played = []
        for index, piece in enumerate(pieces):
            # The same seed for all: what differs between two steps is the music and never the player.
            notes = midi_of_piece(piece, humanise=1.0, rng=np.random.default_rng(int(request.seed)), start_s=LEAD_S)
            played.append(self._play(player, request, job, notes, piece.seconds, index, len(pieces)))
        waveforms, tables = zip(*played, strict=True)
        return Result(waveforms, self._maps(model, pieces, anchors), tables)

    def _passages(
        self, model: MusicVae, player: Player, request: CalmRequest, anchors: Sequence[CalmPiece], job: Job
    ) -> Result:
        """The same of an imported model, as it wrote them: nothing is humanised, and there is no map."""
        found = passages(model, request, anchors, job)
        played = [
            self._play(player, request, job, passage.notes, passage.seconds, index, len(found))
            for index, passage in enumerate(found)
        ]
        waveforms, tables = zip(*played, strict=True)
        arrays = {
            "piece_tempo_bpm": np.array([passage.tempo_bpm for passage in found]),
            "piece_cues": np.array([passage.cues() for passage in found]),
        }
        return Result(waveforms, arrays, tables)

    def _play(
        self, player: Player, request: CalmRequest, job: Job, notes: Notes, seconds: float, index: int, total: int
    ) -> tuple[Waveform, Notes]:
        """One piece of several as sound and notes; the sound is the preview of its last step."""
        message, seconds = f"Playing piece {index + 1} of {total}", LEAD_S + seconds + RING_S

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
            start_bpm=request.start_bpm, end_bpm=float(request.end_bpm),
            pitches=(int(request.lowest), int(request.highest)), around=relative,
            progress=lambda share: job.step(10 * share, 100, "Composing"),
        )  # fmt: skip
        seconds = session.duration_s
        rendered = player.play(
            session.notes, seconds, _mix(request, *SESSION_FADES_S), job.check,
            lambda done_s, preview: job.step(10 + 90 * min(1.0, done_s / seconds), 100, "Playing", preview),
        )  # fmt: skip
        passed = [part.piece for part in session.placed[:MOST_ON_MAP]]
        arrays = {
            **self._maps(model, anchors, anchors),
            **session_arrays(session, rendered),
            "map_path": latent.on_map(model, passed),
        }
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


def imported(request: ImportRequest, job: Job) -> Result:
    """Import a checkpoint of Magenta's into its folder.

    Raises:
        CheckpointError: it is damaged or of another configuration.
        Cancelled, DeadlineExceeded: from ``job``, which ends the import too.
    """

    def watch(seconds: float) -> None:
        job.step(0, 0, "Reading the checkpoint with TensorFlow")  # nobody can tell how long TensorFlow takes

    report = import_apart(request.source, request.config, request.folder, watch=watch)
    return Result(arrays={name: np.array(report[name]) for name in ("checkpoint", "parameters")})


def session_arrays(session: Session, rendered: Rendered) -> dict[str, Any]:
    """What the page draws and the sheet prints of a session.

    Returns:
        ``tempo_bpm`` of every beat, ``beat_s`` where each is and where the last ends, ``loudness_lufs`` of every 400 ms
        ten times a second, ``session_cues`` of the calm score, ``route`` with a row for each stretch (start and end in
        seconds, anchor it comes from, anchor it goes to, share of the way), and single figures.
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
        "session_cues": session_cues(session),
    }


def session_cues(session: Session) -> npt.NDArray[np.float64]:
    """The calm score's cues of a whole session; its mode is the share of bars in major."""
    cues = calm_cues(session.notes, float(session.tempo_bpm.mean()), "major")
    cues["mode"] = sum(part.bars for part in session.placed if part.piece.mode == "major") / session.bars
    return np.array([cues[name] for name in CUES])


def _mix(request: CalmRequest, fade_in_s: float, fade_out_s: float) -> Mix:
    return Mix(request.sound, float(request.loudness_lufs), fade_in_s, fade_out_s, float(request.treble))
