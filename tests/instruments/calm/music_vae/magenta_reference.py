"""What the real magenta package computes from checkpoints it saved, written for `test_parity`.

``python -m tests.instruments.calm.music_vae.magenta_reference FOLDER`` needs half a minute of one core, most of it
TensorFlow's import and graphs; so it runs once, in a process of its own, and does our import there as well.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import note_seq
import numpy as np
import numpy.typing as npt
import tensorflow.compat.v1 as tf
from magenta.models.music_vae import configs, data
from magenta.models.music_vae.trained_model import TrainedModel

from backend.audio.midi import make_notes, to_sequence
from backend.errors import CheckpointError
from backend.instruments.calm.music_vae.config import CONFIGS, MusicVaeConfig
from backend.instruments.calm.music_vae.import_checkpoint import import_checkpoint, main, read_checkpoint
from backend.instruments.calm.music_vae.sequences import Labels, to_notes

FULL_SIZE = "cat-mel_2bar_small"
GREEDY = 1e-6  # temperature at which TensorFlow's sampler takes the largest logit
N_LATENTS = 3


def reduced(config: MusicVaeConfig) -> MusicVaeConfig:
    """Small, with another width everywhere, so that nothing fits by chance; `FULL_SIZE` stays as it is."""
    if config.name == FULL_SIZE:
        return config
    sizes = {"enc_rnn_size": (26, 22, 18), "dec_rnn_size": (24, 20, 16)}
    return replace(config, z_size=14, **{key: value[: len(getattr(config, key))] for key, value in sizes.items()})


def randomise(session: Any, variables: list[Any], seed: int) -> None:
    """Weights under which state, biases and latent vector all matter, and the greedy choice varies."""
    rng = np.random.default_rng(seed)
    gains = {"output_projection": 5.0, "mu": 3.0, "sigma": 3.0, "z_to_initial_state": 2.0, "initial_state": 2.0}
    for variable in variables:
        shape = variable.shape.as_list()
        if not shape:
            value = np.array(1000)
        elif len(shape) == 1:
            value = rng.normal(0, 0.3, shape)
        else:
            value = rng.normal(0, gains.get(variable.name.split("/")[-2], 2.5) / np.sqrt(shape[0]), shape)
        variable.load(value, session)


def build(config: MusicVaeConfig, folder: Path, seed: int) -> tuple[TrainedModel, str]:
    """Magenta's model with random weights, and the prefix it saved them to."""
    theirs = copy.deepcopy(configs.CONFIG_MAP[config.name])
    theirs.hparams.z_size = config.z_size
    theirs.hparams.enc_rnn_size, theirs.hparams.dec_rnn_size = list(config.enc_rnn_size), list(config.dec_rnn_size)

    def restore(saver: Any, session: Any, path: str) -> None:
        randomise(session, tf.global_variables(), seed)

    # There is nothing to restore yet; optimising a graph takes longer than running it a few times; and the trio's
    # logits are behind a check that does not hold for it (16 steps a segment against 256).
    session = tf.Session
    options = tf.ConfigProto()
    options.graph_options.rewrite_options.disable_meta_optimizer = True
    with (
        mock.patch.object(tf.train.Saver, "restore", restore),
        mock.patch.object(tf, "Session", lambda target: session(target, config=options)),
        mock.patch.object(tf, "assert_equal", lambda *_, **__: tf.no_op()),
    ):
        model = TrainedModel(theirs, N_LATENTS, str(folder / "none"))
    with model._sess.graph.as_default():
        prefix = tf.train.Saver().save(model._sess, str(folder / config.name / "model.ckpt"), 1000)
    return model, prefix


def random_piece(config: MusicVaeConfig, rng: np.random.Generator) -> Labels:
    """Labels that Magenta extracts again as one example: something starts in every bar, and sounds to the end."""
    piece = np.zeros((config.steps, len(config.classes)), dtype=np.int64)
    for part, classes in enumerate(config.classes):
        onsets = rng.random(config.steps) < 0.3
        onsets[::16], onsets[-1] = True, True
        lowest, highest = (1, 512) if classes == 512 else (20, 70)
        piece[onsets, part] = rng.integers(lowest, highest, onsets.sum())
        if classes != 512:
            piece[(rng.random(config.steps) < 0.1) & ~onsets, part] = 1
    return piece


def rows(sequence: Any) -> list[list[float]]:
    """Notes to compare: start, end, pitch, velocity, program, drum."""
    return sorted([n.start_time, n.end_time, n.pitch, n.velocity, n.program, float(n.is_drum)] for n in sequence.notes)


def classes_of(tensor: npt.NDArray[Any], config: MusicVaeConfig) -> Labels:
    """One-hot vectors of all parts, beside each other → labels."""
    parts = np.split(tensor, np.cumsum(config.classes)[:-1], axis=-1)
    return np.stack([part.argmax(-1) for part in parts], -1)


def reference(model: TrainedModel, config: MusicVaeConfig, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and notes of every operation; of the interpolation where its graph is not the slowest of all to make."""
    rng = np.random.default_rng(seed)
    pieces = [to_sequence(to_notes(random_piece(config, rng), config)) for _ in range(2)]
    _, mu, sigma = model.encode(pieces)
    z = rng.normal(size=(N_LATENTS, config.z_size)).astype(np.float32)
    feed = {model._z_input: z, model._temperature: GREEDY, model._max_length: config.steps}
    logits, samples = model._sess.run([model._decoder_results.rnn_output, model._outputs], feed)
    arrays = {"mu": mu, "sigma": sigma, "z": z, "logits": logits, "labels": classes_of(samples, config)}
    arrays["pieces"] = np.stack(
        [classes_of(model._config.data_converter.to_tensors(piece).inputs[0], config) for piece in pieces]
    )
    notes = {
        "pieces": [piece.SerializeToString().hex() for piece in pieces],
        "decoded": [rows(sequence) for sequence in model._config.data_converter.from_tensors(samples)],
    }
    if not config.is_trio:
        road = model.interpolate(*pieces, N_LATENTS, length=config.steps, temperature=GREEDY)
        notes["interpolated"] = [rows(sequence) for sequence in road]
    return arrays, notes


def random_band(rng: np.random.Generator, bars: int) -> Any:
    """Polyphonic instruments with rests, notes off the grid, pitches and programs nobody models, and drums."""
    table = []
    for part, program in enumerate([0, 12, 33, 38, 0, 0, 70, 30]):
        drum = part in (4, 5)
        for _ in range(bars * 4):
            start = rng.uniform(0, bars * 2.0)
            pitch = rng.integers(22, 90) if drum else rng.integers(15, 115)
            played = 33 if part == 7 and rng.random() < 0.1 else program
            table.append((start, start + rng.uniform(0.03, 1.5), int(pitch), 80, played, drum, part))
    return to_sequence(make_notes(table))


def extracted(seed: int) -> list[dict[str, Any]]:
    """Excerpts that Magenta's converters find in bands, with changes of tempo and metre, as sets."""
    rng = np.random.default_rng(seed)
    found = []
    for name in ("cat-mel_2bar_small", "hierdec-mel_16bar", "hierdec-trio_16bar"):
        for changes in (False, True):
            band = random_band(rng, 24)
            if changes:
                band.tempos.add(time=36.0, qpm=100.0)
                band.time_signatures.add(time=0.0, numerator=4, denominator=4)
                band.time_signatures.add(time=42.0, numerator=3, denominator=4)
            converter = copy.deepcopy(configs.CONFIG_MAP[name].data_converter)
            converter.max_tensors_per_notesequence = None
            tensors = converter.to_tensors(note_seq.NoteSequence.FromString(band.SerializeToString()))
            labels = sorted({classes_of(tensor, CONFIGS[name]).tobytes().hex() for tensor in tensors.inputs})
            found.append({"config": name, "sequence": band.SerializeToString().hex(), "windows": labels})
    return found


def sentence(attempt: Callable[[], Any]) -> str:
    """What the attempt is refused with."""
    try:
        attempt()
    except CheckpointError as error:
        return str(error)
    return ""


def refusals(prefixes: dict[str, str], folder: Path) -> dict[str, str]:
    """Our importer on checkpoints that are not what they are said to be."""
    small = reduced(CONFIGS["cat-mel_2bar_small"])
    broken = folder / "broken"
    broken.mkdir()
    source = Path(prefixes[small.name])
    index, shard = (Path(f"{source}.{suffix}") for suffix in ("index", "data-00000-of-00001"))
    (broken / "cut.index").write_bytes(index.read_bytes())
    (broken / "cut.data-00000-of-00001").write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    (broken / "noise.index").write_bytes(np.random.default_rng(0).bytes(2000))
    (broken / "alone.index").write_bytes(index.read_bytes())
    return {
        "another config": sentence(lambda: read_checkpoint(source, CONFIGS["cat-mel_2bar_big"])),
        "no config": sentence(lambda: read_checkpoint(Path(prefixes["hierdec-mel_16bar"]), small)),
        "cut": sentence(lambda: read_checkpoint(broken / "cut", small)),
        "noise": sentence(lambda: read_checkpoint(broken / "noise", small)),
        "alone": sentence(lambda: read_checkpoint(broken / "alone", small)),
    }


def sizes() -> dict[str, Any]:
    """What Magenta's four configurations say of themselves."""
    found = {}
    for name in CONFIGS:
        theirs = configs.CONFIG_MAP[name]
        names = ("z_size", "max_seq_len", "enc_rnn_size", "dec_rnn_size")
        found[name] = {key: getattr(theirs.hparams, key) for key in names}
        found[name]["depth"] = theirs.data_converter.output_depth
    return found


def run(folder: Path) -> None:
    """Write ``<config>.npz``, ``store/`` and ``answers.json`` below the folder."""
    tf.disable_eager_execution()
    tf.get_logger().setLevel("ERROR")
    data.tf.logging.set_verbosity("ERROR")
    answers: dict[str, Any] = {"sizes": sizes(), "extracted": extracted(7)}
    prefixes: dict[str, str] = {}
    for seed, config in enumerate(map(reduced, CONFIGS.values())):
        model, prefixes[config.name] = build(config, folder, seed)
        if config.name == FULL_SIZE:
            source = folder / f"{config.name}.tar"
            with tarfile.open(source, "w") as tar:
                tar.add(folder / config.name, "checkpoints")
            model = TrainedModel(configs.CONFIG_MAP[config.name], N_LATENTS, prefixes[config.name])
            with contextlib.redirect_stdout(io.StringIO()) as output:
                status = main([str(source), "--config", config.name, "--out", str(folder / "store")])
            answers["command line"] = {"status": status, **json.loads(output.getvalue())}
        else:
            import_checkpoint(Path(prefixes[config.name]), config, folder / "store")
        arrays, answers[config.name] = reference(model, config, seed)
        np.savez(folder / f"{config.name}.npz", **arrays)
        tf.reset_default_graph()
    answers["refusals"] = refusals(prefixes, folder)
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    run(Path(sys.argv[1]))
