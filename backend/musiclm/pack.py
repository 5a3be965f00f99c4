"""``python -m backend.musiclm.pack --kind tokens|notes --out DIR``: a training kit for a bare machine with a GPU.

The kit is a folder of at most 60 MiB with its own data and the few files of this project that training needs. It runs
with torch and numpy, without network: ``python kit.py all --minutes 9``, repeated as often as there is time. ``tokens``
trains both stages; ``notes`` renders the corpus there and trains codec and judge. What the kit
sends home in parcels becomes models again by ``python -m backend.musiclm.pack --receive PARCELS --out MODELS``.
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import importlib.util
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from backend.corpus.render import find_soundfonts
from backend.errors import NeuromuseError
from backend.musiclm.kit_notes import write_notes
from backend.musiclm.kit_tokens import write_tokens
from backend.musiclm.parcel import read_parcels

ROOT = Path(__file__).resolve().parents[2]
LIMIT_MIB = 60.0
FONT_BYTES, FONTS_BYTES = 40_000_000, 48 * 2**20
BARE = {"numpy", "torch"}
"""All that a bare machine is known to have beside Python."""

ENTRIES = {
    "tokens": ("kit", "kit_tokens", "train", "stages_train"),
    "notes": ("kit", "kit_notes", "train", "codec_train", "listener_train"),
}
"""Modules of ``backend.musiclm`` that run in a kit; what they import comes along."""

LAUNCHER = '''"""Trains the models of this kit; see README.md."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from backend.musiclm.kit import main

    sys.exit(main())
'''
SHELL = '#!/bin/sh\nexec python3 "$(dirname "$0")/kit.py" all "$@"\n'
README = """# Training kit ({kind})

    python3 kit.py all --minutes 9            # everything in one piece of nine minutes
    python3 kit.py all --minutes 9 --total 27 # the first of three pieces; repeat the command for the others

Needs Python 3.11 or later with torch and numpy; no network. Scratch and what resumes a run go to `work/`, the results
(`best.pt`, `config.pt`, `curve.csv`) to `results/`; `--parcels DIR` also writes them small and in parts of at most
15 MiB. `--size large` trains models too large for the bundle. `python3 kit.py --help` lists the rest.

{content}
"""
NOTES = """The corpus is here as notes and is rendered on all cores first. The synthesiser is tinysoundfont (MIT;
licence in `site/`), a compiled extension that is here for: {binaries}. Soundfonts, each under its own licence:
{soundfonts}."""
SMALLER = {
    "tokens": "pack fewer --codebooks or a smaller corpus",
    "notes": "pack a smaller soundfont or corpus",
}
SPARE_BYTES = 4096
"""Left for the files that say what the kit holds."""


def imported(path: Path) -> Iterator[str]:
    """Modules a file imports when it is imported itself, so neither inside functions nor for the type checker."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(entries: Sequence[str], root: Path = ROOT) -> list[Path]:
    """Files of this project that the modules need, relative to ``root``, packages' ``__init__`` included.

    Raises:
        NeuromuseError: one of them needs a package that a bare machine lacks.
    """
    found: set[Path] = set()
    waiting = list(entries)
    while waiting:
        module = waiting.pop()
        for depth in range(1, module.count(".") + 2):
            path = root.joinpath(*module.split(".")[:depth])
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            if not path.is_file() or path.relative_to(root) in found:
                continue  # a name inside a module, or known already
            found.add(path.relative_to(root))
            for name in imported(path):
                top = name.split(".")[0]
                if top == "backend":
                    waiting.append(name)
                elif top not in BARE and top not in sys.stdlib_module_names:
                    raise NeuromuseError(f"{path.relative_to(root)} imports {top}, which a bare machine lacks.")
    return sorted(found)


def pack(kind: str, out: Path, options: argparse.Namespace) -> str:
    """Make the kit; what it holds, in words.

    Raises:
        NeuromuseError: something it needs is missing, ``out`` is in use, or the kit would be larger than the limit.
    """
    if out.exists() and any(out.iterdir()) and not (out / "kit.json").exists():
        raise NeuromuseError(f"{out} is not empty and no kit; choose another folder.")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        for path in sources([f"backend.musiclm.{entry}" for entry in ENTRIES[kind]]):
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, out / path)
        (out / "kit.py").write_text(LAUNCHER, encoding="utf-8")
        (out / "run.sh").write_text(SHELL, encoding="utf-8")
        (out / "run.sh").chmod(0o755)
        content, fonts = _tokens(out, options) if kind == "tokens" else _notes(out, options)
        (out / "README.md").write_text(README.format(kind=kind, content=content), encoding="utf-8")
        (out / "kit.json").write_text(json.dumps({"kind": kind, "soundfonts": fonts}), encoding="utf-8")
        size, limit = size_of(out) / 2**20, options.limit_mib
        if size > limit:
            raise NeuromuseError(f"The kit would be {size:.1f} MiB, above the limit of {limit:g}; {SMALLER[kind]}.")
    except NeuromuseError:
        shutil.rmtree(out)
        raise
    return f"{size:.1f} MiB. {content}"


def size_of(folder: Path) -> int:
    """Bytes of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _tokens(out: Path, options: argparse.Namespace) -> tuple[str, list[str]]:
    """Pack as much of the tokens as fits; a sentence for the reader and no soundfonts."""
    room = round(options.limit_mib * 2**20) - size_of(out) - SPARE_BYTES
    kept = write_tokens(options.tokens, out / "data", room, codebooks=options.codebooks, silent=options.silent)
    return f"Tokens: {kept}.", []


def _notes(out: Path, options: argparse.Namespace) -> tuple[str, list[str]]:
    """Pack notes, soundfonts and synthesiser; a paragraph for the reader and the soundfonts' file names."""
    write_notes(options.corpus, out / "data")
    fonts = _soundfonts(options.soundfont, out / "soundfonts")
    binaries = _synthesiser(options.wheel, out / "site")
    return NOTES.format(binaries=", ".join(binaries), soundfonts=", ".join(fonts)), fonts


def _soundfonts(named: Sequence[Path], out: Path) -> list[str]:
    """Copy the named soundfonts, else the largest of those found that are small enough; their file names."""
    chosen, total = list(named), 0
    for path in sorted(find_soundfonts(named), key=lambda p: -p.stat().st_size) if not named else ():
        size = path.stat().st_size
        if size <= FONT_BYTES and total + size <= FONTS_BYTES:
            chosen.append(path)
            total += size
    if not chosen:
        raise NeuromuseError(f"No soundfont below {FONT_BYTES / 1e6:.0f} MB was found; pass --soundfont FILE.")
    out.mkdir()
    for path in find_soundfonts(chosen):
        shutil.copyfile(path, out / path.name)
    return [path.name for path in chosen]


def _synthesiser(wheels: Sequence[Path], out: Path) -> list[str]:
    """Copy the installed tinysoundfont with its licence, and the compiled parts of other wheels; their file names."""
    spec = importlib.util.find_spec("tinysoundfont")
    if spec is None or spec.origin is None:
        raise NeuromuseError("tinysoundfont is not installed here, so the kit cannot carry it.")
    package = Path(spec.origin).parent
    shutil.copytree(package, out / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in importlib.metadata.files("tinysoundfont") or ():
        if "licen" in str(file).lower() and Path(str(file.locate())).is_file():
            shutil.copyfile(str(file.locate()), out / f"tinysoundfont.{file.name}")
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                inside = [n for n in archive.namelist() if n.startswith("tinysoundfont/") and n.endswith(".so")]
                archive.extractall(out, inside)
        except (OSError, zipfile.BadZipFile) as error:
            raise NeuromuseError(f"{wheel} is not a wheel that can be read.") from error
        if not inside:
            raise NeuromuseError(f"{wheel} is not a tinysoundfont wheel for Linux.")
    return sorted(path.name for path in (out / package.name).glob("*.so"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m backend.musiclm.pack", description=__doc__)
    parser.add_argument("--kind", choices=tuple(ENTRIES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, help="folder of backend.musiclm.train tokens")
    parser.add_argument("--codebooks", type=int, help="keep so many of the tokens' codebooks; default: all that fit")
    parser.add_argument("--silent", type=int, help="keep at most so many clips of notes alone; default: all that fit")
    parser.add_argument("--corpus", type=Path, help="folder of backend.corpus.build")
    parser.add_argument("--soundfont", type=Path, action="append", default=[], help="carry this one (repeatable)")
    parser.add_argument("--wheel", type=Path, action="append", default=[], help="tinysoundfont for another Python")
    parser.add_argument("--limit-mib", type=float, default=LIMIT_MIB)
    parser.add_argument("--receive", type=Path, metavar="PARCELS", help="restore what a kit sent home into --out")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    needed = {"tokens": "tokens", "notes": "corpus"}.get(options.kind)
    if not options.receive and (needed is None or getattr(options, needed) is None):
        parser.error("give --kind tokens --tokens DIR, --kind notes --corpus DIR, or --receive PARCELS")
    try:
        if options.receive:
            print(", ".join(read_parcels(options.receive, options.out)))
        else:
            print(f"{options.out}: {pack(options.kind, options.out, options)}")
    except NeuromuseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
