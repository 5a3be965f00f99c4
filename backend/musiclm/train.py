"""Training of every model.

``python -m backend.musiclm.train codec|mulan|tokens|semantic|acoustic|coarse|fine|listener --out DIR …``

Each run is resumable (repeat the command), seeded, writes its validation curve beside its checkpoint, and runs on the
CPU, on CUDA and, through ``accelerate launch -m backend.musiclm.train …``, on several GPUs. The order is: ``codec``
and ``mulan`` from the corpus; ``tokens`` writes what they make of it, and the notes; ``semantic``, ``coarse`` and
``fine`` learn from those.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backend.musiclm.fit import FitConfig, fit

KINDS = ("codec", "mulan", "tokens", "semantic", "acoustic", "coarse", "fine", "listener")
BATCH = {"codec": 12, "semantic": 16, "acoustic": 8, "coarse": 8, "fine": 16, "listener": 24}
LEARNING_RATE = {"codec": 6e-4, "semantic": 1e-3, "acoustic": 1.5e-3, "coarse": 1e-3, "fine": 1e-3, "listener": 2e-3}
EMA = {"codec": 0.998, "semantic": 0.995, "acoustic": 0.998, "coarse": 0.995, "fine": 0.995, "listener": 0.99}

ACOUSTIC_WINDOW = 300  # frames of the codec


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.musiclm.train", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--corpus", type=Path, help="folder of backend.corpus.build")
    parser.add_argument("--tokens", type=Path, help="folder of the tokens command (semantic, coarse, fine)")
    parser.add_argument("--models", type=Path, help="folder with codec/ and mulan.pt (tokens)")
    parser.add_argument("--cache", type=Path, help="features that the training of MuLan left (tokens)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30.0, help="total budget over all resumed runs")
    parser.add_argument("--piece", type=float, metavar="MINUTES", help="stop this run after so much of the budget")
    parser.add_argument("--validate-every", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--held-out", type=int, default=128, help="windows that a stage is validated on")
    parser.add_argument("--ema", type=float, help="decay of the average of the weights, which is what is kept")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", choices=("bf16", "no"), default="bf16")
    parser.add_argument("--phase", choices=("encoder", "decoder"), default="encoder", help="codec only")
    parser.add_argument("--stages", choices=("bundled", "package"), default="bundled")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=NUMBER", help="change a size of the model")
    parser.add_argument("--start", type=Path, help="best.pt to start from, with a fresh schedule")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one training; returns the exit status."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if argv[:1] == ["mulan"]:
        from backend.musiclm import mulan_train

        mulan_train.main(argv[1:])
        return 0
    options = parser().parse_args(argv)
    needed = {"tokens": ("corpus", "models"), **dict.fromkeys(("semantic", "acoustic", "coarse", "fine"), ("tokens",))}
    for name in needed.get(options.kind, ("corpus",)):
        if getattr(options, name) is None:
            parser().error(f"{options.kind} needs --{name}")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    if options.kind == "tokens":
        _tokens(options)
        return 0
    with torch.random.fork_rng(devices=[]):  # modules draw their first weights from torch's own generator
        torch.manual_seed(options.seed)
        module, task, config, on_step = _build(options)
    if options.start:
        module.load_state_dict(torch.load(options.start, map_location="cpu", weights_only=False)["module"])
        fresh = not (options.out / "state.pt").exists()  # a resumed run brings its codebooks
        codec: Any = getattr(module, "codec", None)
        if options.kind == "codec" and options.phase == "decoder" and fresh and codec.quantizer.untouched():
            task.fit_quantiser(codec, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(dataclasses.asdict(config), options.out / "config.pt")
    fit_config = FitConfig(
        minutes=options.minutes,
        lr=options.lr or LEARNING_RATE[options.kind],
        seed=options.seed,
        precision=options.precision,
        ema_decay=EMA[options.kind] if options.ema is None else options.ema,
        piece_minutes=options.piece,
        validate_every_s=options.validate_every,
    )
    figures = fit(module, task, fit_config, options.out, on_step=on_step)
    logging.getLogger(__name__).info("best %s", figures)
    return 0


def _sized(config: Any, changes: Sequence[str]) -> Any:
    names, values = {field.name for field in dataclasses.fields(config)}, {}
    for change in changes:
        name, _, number = change.partition("=")
        try:
            values[name] = float(number) if "." in number else int(number)
        except ValueError:
            names = set()
        if name not in names:
            known = ", ".join(field.name for field in dataclasses.fields(config))
            raise SystemExit(f"--set: got {change!r}, expected NAME=NUMBER with a name out of {known}.")
    return dataclasses.replace(config, **values)


def _build(options: argparse.Namespace) -> tuple[nn.Module, Any, Any, Any]:
    """Module, task, configuration and step hook of one kind."""
    batch = options.batch or BATCH[options.kind]
    if options.kind == "codec":
        from backend.musiclm import codec, codec_train

        config = _sized(codec.BASE, options.set)
        task = codec_train.CodecTask(options.corpus, config, batch, 1.0)
        return codec_train.CodecObjective(config, options.phase), task, config, None
    if options.kind == "listener":
        from backend.metrics.listener import ListenerConfig
        from backend.musiclm import listener_train

        judge = _sized(ListenerConfig(), options.set)
        return (
            listener_train.ListenerObjective(judge),
            listener_train.ListenerTask(options.corpus, judge, batch),
            judge,
            None,
        )
    from backend.musiclm import stages, stages_train

    tokens = stages_train.TokenCorpus(options.tokens)
    if options.stages == "package" or options.kind in ("coarse", "fine"):
        from backend.musiclm import package_stages

        package = _sized(package_stages.BASE, options.set)
        module = stages_train.PackageObjective(options.kind, package, options.seed)
        guide = package.semantic_frames(package.coarse_window_s) if options.kind == "coarse" else 0
        packaged = stages_train.StageTask(tokens, options.kind, package, batch, module.window, guide, options.held_out)
        return module, packaged, package, None
    if options.kind == "acoustic":
        from backend.musiclm import acoustic

        sizes = _sized(acoustic.BASE, options.set)
        playing = stages_train.AcousticObjective(sizes, torch.from_numpy(tokens.codebooks))
        frames = stages_train.StageTask(tokens, "acoustic", sizes, batch, ACOUSTIC_WINDOW, held_out=options.held_out)
        sample = torch.from_numpy(tokens.acoustic[tokens.train[:64], ::10].astype("int64"))
        playing.stage.calibrate(playing.latents(sample))
        return playing, frames, sizes, None
    own = _sized(stages.SEMANTIC, options.set)
    task_ = stages_train.StageTask(tokens, "semantic", own, batch, own.window, held_out=options.held_out)
    return stages_train.StageObjective(own), task_, own, None


def _tokens(options: argparse.Namespace) -> None:
    """Write notes, codes and embeddings of the corpus by the models trained so far, else by the bundled ones."""
    from backend.checkpoints import CheckpointStore
    from backend.musiclm import codec, tokenise
    from backend.musiclm.mulan import MuLanEmbedder

    tokenise.write_splits(options.corpus, options.out)
    if not (options.out / "notes.npz").exists():
        tokenise.write_notes(options.corpus, options.out)
    store = CheckpointStore()
    if (options.models / "mulan.pt").exists():
        saved = torch.load(options.models / "mulan.pt", weights_only=False)
        embedder = MuLanEmbedder.from_state(saved["state"], saved["config"]).eval()
    else:
        embedder = MuLanEmbedder.from_store(store)
    if not (options.out / "silent_text_embed.npy").exists():
        tokenise.write_silent_embeddings(options.corpus, options.out, embedder)
    if not (options.out / "text_embed.npy").exists():
        cache = options.cache or options.out / "mulan_features"
        tokenise.write_embeddings(options.corpus, options.out, embedder, cache)
    if not (options.out / "acoustic.npy").exists():
        source = options.models / "codec"
        if (source / "best.pt").exists():
            model = codec.Codec(codec.config_of(torch.load(source / "config.pt", weights_only=False)))
            model.load_state_dict(part_of(torch.load(source / "best.pt", weights_only=False)["module"], "codec."))
        else:
            model = codec.Codec(codec.config_of(store.config("text_to_music.codec")))
            model.load_state_dict(store.load("text_to_music.codec"))
        tokenise.write_codebooks(options.out, model.eval())
        tokenise.write_codes(options.corpus, options.out, model, "acoustic")


def part_of(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The entries below ``prefix``, with it removed."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


if __name__ == "__main__":
    sys.exit(main())
