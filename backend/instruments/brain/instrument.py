"""Brain as an instrument of the house."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.loudness import fade, limit, normalise_loudness
from backend.audio.waveform import Waveform
from backend.contract import Instrument, InstrumentSpec, Result
from backend.errors import CheckpointError
from backend.instruments.brain.cleaning import Quality
from backend.instruments.brain.laboratory import Decoded, Listener
from backend.instruments.brain.layout import HRF_DELAY_VOLUMES, LABEL, TR_S
from backend.instruments.brain.listener import BASE, ListenerConfig, SimulatedListener
from backend.instruments.brain.reconstruct import control_embeddings, generate, nearest
from backend.instruments.brain.recording import simulate
from backend.instruments.brain.request import BrainRequest
from backend.instruments.brain.stimuli import CHECKPOINT, Stimuli
from backend.job import Job
from backend.metrics.identification import correlation
from backend.musiclm.decode import decode_audio
from backend.musiclm.generator import CHECKPOINTS, MusicGenerator

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore
    from backend.instruments.brain.material import Material

FloatArray = npt.NDArray[np.float32]

SAMPLE_RATE = 24_000
LOUDNESS_LUFS = -16.0
SHOWN_REGIONS = 12
SIMULATED_RUNS = 18
PERMUTATIONS = 1000
NO_SIGNAL = (
    "No reliable signal: the scan does not tell the test pieces apart better than chance (p = {p:.2f}), so nothing is "
    "reconstructed."
)


class Brain(Instrument):
    """A scan becomes the music that was heard, with the odds of it.

    Args:
        config: of the simulated listener.
    """

    spec: ClassVar[InstrumentSpec] = InstrumentSpec(
        "brain", "Brain", SAMPLE_RATE, (*CHECKPOINTS, CHECKPOINT), memory_mb=1000
    )
    request_type = BrainRequest

    def __init__(self, config: ListenerConfig = BASE) -> None:
        self._config = config
        self._models: MusicGenerator | None = None
        self._stimuli: Stimuli | None = None
        self._simulated: tuple[tuple[Any, ...], Listener] | None = None

    def load(self, store: CheckpointStore, device: torch.device) -> None:
        """Read the bundled models and the clips of the simulated listener."""
        self._models, self._stimuli = MusicGenerator(store, device), Stimuli.from_store(store)

    def unload(self) -> None:
        """Drop the models and the simulated listener."""
        self._models = self._stimuli = self._simulated = None

    def generate(self, request: BrainRequest, job: Job) -> Result:
        """Decode one test piece and make it sound.

        Raises:
            CheckpointError: the models are not loaded.
            RequestError: the scan cannot be used, in one sentence.
            Cancelled, DeadlineExceeded: from ``job``.
        """
        if self._models is None or self._stimuli is None:
            raise CheckpointError("The models of brain are not loaded.")
        if request.source == "scan":
            from backend.instruments.brain.material import scanned

            with scanned(request, self._models.mulan, job) as (listener, material):
                return self._answer(request, listener, material, self._models, job)
        listener = self._listener(request, self._stimuli, job)
        return self._answer(request, listener, SimulatedMaterial(self._stimuli, self._models), self._models, job)

    def _listener(self, request: BrainRequest, stimuli: Stimuli, job: Job) -> Listener:
        """The simulated listener of the request; the last one is kept, since nobody's privacy is at stake."""
        snr = stimuli.snr if request.snr is None else float(request.snr)
        key = (int(request.listener_seed), snr, request.pairing)
        if self._simulated is None or self._simulated[0] != key:
            job.step(0, 100, "Simulating a listener")

            def on_run(done: int) -> None:
                job.step(40 * done / SIMULATED_RUNS, 100, f"Simulated run {done} of {SIMULATED_RUNS}")

            n = stimuli.n_train
            person = SimulatedListener(stimuli.features, key[0], snr, self._config)
            recording = simulate(person, n, pairing=request.pairing, on_run=on_run)
            rows = stimuli.embeddings[[int(clip) for clip in recording.train_clips]]
            self._simulated = (key, Listener(recording, rows, stimuli.embeddings[n:]))
        return self._simulated[1]

    def _answer(
        self, request: BrainRequest, listener: Listener, material: Material, models: MusicGenerator, job: Job
    ) -> Result:
        """Decode, and reconstruct unless there is nothing to be read."""
        job.step(40, 100, "Training the decoder")
        decoded = listener.decode(request.decoder, request.region, PERMUTATIONS)
        clip = min(int(request.clip), len(decoded.true) - 1)
        job.step(50, 100, "Mapping the cortex")
        arrays = describe(listener, decoded, material, clip)
        sounds = {"original": material.original(clip)}
        remarks = [*listener.recording.remarks]
        notes: tuple[npt.NDArray[np.void], ...] = ()
        if decoded.reliable:
            made, heard = self._sounds(request, listener, decoded, material, models, clip, job)
            sounds |= made
            arrays |= heard
        else:
            remarks.append(NO_SIGNAL.format(p=decoded.identification.p))
        arrays |= {
            "names": np.array(list(sounds), np.str_), "remarks": np.array(remarks, np.str_),
            "reliable": np.array(decoded.reliable),
        }  # fmt: skip
        return Result(tuple(sounds.values()), arrays, notes)

    def _sounds(
        self,
        request: BrainRequest,
        listener: Listener,
        decoded: Decoded,
        material: Material,
        models: MusicGenerator,
        clip: int,
        job: Job,
    ) -> tuple[dict[str, Waveform], dict[str, npt.NDArray[Any]]]:
        """Reconstruction, retrieval and controls, and how near each comes to the prediction."""
        wanted = {"reconstruction": decoded.predicted}
        if request.controls:
            wanted |= control_embeddings(decoded.predicted, decoded.true, listener.train, int(request.seed))
        rows = np.stack([rows[clip] for rows in wanted.values()])
        repeats = int(request.candidates)
        asked = np.concatenate([np.repeat(rows[:1], repeats, 0), rows[1:]])
        made = generate(models, asked, request.duration_s, part_of(job, 55, 99), int(request.seed))
        first = int(np.argmax([clip_made.cosine for clip_made in made[:repeats]]))
        kept = [made[first], *made[repeats:]]
        sounds = {name: finish(one.audio) for name, one in zip(wanted, kept, strict=True)}
        found = int(nearest(decoded.predicted[clip : clip + 1], material.catalogue)[0])
        retrieved = material.retrieve(found)
        order = ["reconstruction", "retrieval", *list(wanted)[1:]]
        sounds["retrieval"] = retrieved
        names = list(wanted)
        embeddings = {name: one.embedding for name, one in zip(names, kept, strict=True)}
        embeddings |= {"original": decoded.true[clip], "retrieval": material.catalogue[found]}
        prediction = decoded.predicted[clip]
        cosine = [unit(embeddings[name]) @ unit(prediction) for name in ("original", *order)]
        similar = correlation(embeddings["reconstruction"][None], decoded.true)[0]
        return {name: sounds[name] for name in order}, {
            "cosine": np.array(cosine, np.float32),
            "rank_after_generation": np.array(int((similar >= similar[clip]).sum())),
            "retrieved": np.array(material.catalogue_titles[found], np.str_),
        }


def describe(listener: Listener, decoded: Decoded, material: Material, clip: int) -> dict[str, npt.NDArray[Any]]:
    """Everything about a test piece that is drawn or said."""
    recording, found = listener.recording, decoded.identification
    encoded = listener.encoding_map()
    share = listener.contributions(decoded, clip)
    shown = np.argsort(-np.abs(share))[:SHOWN_REGIONS]
    course = recording.test_volumes[clip][:, decoded.voxels]
    over_time = correlation(decoded.decoder.predict(course), decoded.true[clip : clip + 1])[:, 0]
    probe = material.probe(listener, decoded)
    label = LABEL if recording.simulated else ""
    return {
        "label": np.array(label, np.str_),
        "file_stem": np.array("simulated_brain" if recording.simulated else "brain", np.str_),
        "titles": np.array(material.titles, np.str_), "genres": np.array(material.genres, np.str_),
        "genre": np.array(material.genre), "clip": np.array(clip),
        "surface": recording.space.on_surface(encoded.correlation),
        "surface_significant": np.nan_to_num(recording.space.on_surface(encoded.significant)) > 0.5,
        "voxel_correlation": encoded.correlation, "voxel_significant": encoded.significant,
        "voxel_xyz": recording.space.xyz, "voxel_index": recording.space.index,
        "volume_shape": np.array(recording.space.shape), "volume_affine": recording.space.affine,
        "region_names": np.array([listener.regions.names[i] for i in shown], np.str_),
        "region_contribution": share[shown],
        "region_course": listener.contributions_over_time(decoded, clip)[:, shown],
        "region_xyz": listener.regions.xyz[shown],
        "accuracy": np.array(found.accuracy), "top1": np.array(found.top1), "p": np.array(found.p),
        "null_sd": np.array(found.null_sd), "permutations": np.array(PERMUTATIONS),
        "n_test": np.array(len(decoded.true)), "rank": np.array(found.rank[clip]),
        "clip_accuracy": np.array(found.per_clip[clip]), "similarity": listener.similarity(decoded)[clip],
        "probe": probe.probabilities(decoded.predicted[clip : clip + 1])[0],
        "time_course": over_time.astype(np.float32), "tr_s": np.array(TR_S),
        "hrf_delay_s": np.array(HRF_DELAY_VOLUMES * TR_S),
        "quality": np.array(quality_lines(recording.quality), np.str_),
    }  # fmt: skip


def quality_lines(runs: Sequence[Quality]) -> list[str]:
    """What the runs were like, a sentence a finding."""
    spikes = sum(len(run.spikes) for run in runs)
    drift = float(np.median([run.drift_percent for run in runs] or [0.0]))
    missing, still = (
        max((getattr(run, name) for run in runs), default=0.0) for name in ("nan_share", "constant_share")
    )
    lines = [f"{spikes} motion spikes in {len(runs)} runs were bridged.", f"Slow drift of {drift:.1f} % was removed."]
    if missing:
        lines.append(f"Up to {missing:.1%} of a run's values were not numbers.")
    if still:
        lines.append(f"Up to {still:.1%} of a run's voxels never changed.")
    return lines


@dataclass(frozen=True, eq=False)
class SimulatedMaterial:
    """What the simulated listener heard, for players and names."""

    stimuli: Stimuli
    models: MusicGenerator

    @property
    def titles(self) -> tuple[str, ...]:
        """Of the test clips."""
        return self.stimuli.titles[self.stimuli.n_train :]

    @property
    def genres(self) -> tuple[str, ...]:
        """Names of the genres."""
        return self.stimuli.genres

    @property
    def genre(self) -> npt.NDArray[np.int64]:
        """Of the test clips."""
        return self.stimuli.genre[self.stimuli.n_train :]

    @property
    def catalogue(self) -> FloatArray:
        """Embeddings of the training clips, from which is retrieved."""
        return self.stimuli.embeddings[: self.stimuli.n_train]

    @property
    def catalogue_titles(self) -> tuple[str, ...]:
        """Of the training clips."""
        return self.stimuli.titles[: self.stimuli.n_train]

    def original(self, clip: int) -> Waveform:
        """The sound of a test clip."""
        return self.retrieve(self.stimuli.n_train + clip)

    def retrieve(self, number: int) -> Waveform:
        """The sound of a clip of the catalogue."""
        codes = self.stimuli.codes[number : number + 1].long().to(self.models.device)
        return finish(decode_audio(self.models.codec, codes)[0].cpu().numpy())

    def probe(self, listener: Listener, decoded: Decoded) -> Any:
        """A genre probe for the decoder's predictions."""
        return listener.probe(decoded, self.stimuli.genre[[int(clip) for clip in listener.recording.train_clips]])


def unit(vector: FloatArray) -> FloatArray:
    """The vector at length 1."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def finish(audio: FloatArray) -> Waveform:
    """Faded, levelled and limited."""
    waveform = Waveform(np.nan_to_num(audio, nan=0.0, posinf=0.0, neginf=0.0), SAMPLE_RATE)
    return limit(normalise_loudness(fade(waveform), LOUDNESS_LUFS))


def part_of(job: Job, start: float, stop: float) -> Job:
    """A job whose steps are a share of another's, in percent, and end with it."""
    return Job(lambda step: job.step(start + (stop - start) * step.done / step.total, 100, step.message, step.preview))
