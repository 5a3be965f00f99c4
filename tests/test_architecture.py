"""Rules of the house that import-linter and ruff cannot state; each names the file that breaks it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*ROOT.glob("*.py"), *(ROOT / "backend").rglob("*.py"), *(ROOT / "pages").rglob("*.py")])
MAX_LINES = 400

OWNERS = {
    "gradio": ("app.py", "pages/"),
    "fastapi": ("app.py", "pages/"),
    "uvicorn": ("app.py",),
    "safetensors": ("backend/checkpoints.py",),
    "soundfile": ("backend/audio/io.py",),
    "audiolm_pytorch": ("backend/musiclm/package.py",),
    "musiclm_pytorch": ("backend/musiclm/package.py",),
}
"""Package → the only files that may import it."""

GLOBAL_SEEDS = {"torch.manual_seed", "np.random.seed", "numpy.random.seed", "random.seed", "torch.cuda.manual_seed_all"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Modules a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", OWNERS)
def test_a_package_with_an_owner_is_imported_nowhere_else(package: str) -> None:
    strangers = [
        relative(path)
        for path in SOURCES
        if any(name.split(".")[0] == package for name in imports(path))
        and not relative(path).startswith(OWNERS[package])
    ]
    assert strangers == []


def test_instruments_do_not_import_each_other() -> None:
    found = []
    for path in (ROOT / "backend" / "instruments").rglob("*.py"):
        own = path.relative_to(ROOT / "backend" / "instruments").parts[0]
        others = [name for name in imports(path) if name.startswith("backend.instruments.")]
        found += [f"{relative(path)} imports {name}" for name in others if name.split(".")[2] != own]
    assert found == []


def test_no_file_is_a_drawer_for_everything() -> None:
    assert [relative(path) for path in SOURCES if path.stem in {"utils", "helpers", "common", "misc"}] == []


def test_files_stay_short_enough_to_read() -> None:
    assert [relative(path) for path in SOURCES if len(path.read_text("utf-8").splitlines()) > MAX_LINES] == []


def test_nothing_seeds_a_global_generator() -> None:
    """Except where a package offers nothing else and the generators are put back: inside `torch.random.fork_rng`."""
    found = []
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        blocks = [
            node for node in ast.walk(tree) if isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0])
        ]
        restored = {id(inner) for block in blocks for inner in ast.walk(block)}
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in restored]
        found += [f"{relative(path)}:{call.lineno}" for call in calls if ast.unparse(call.func) in GLOBAL_SEEDS]
    assert found == []


def test_nothing_asks_for_hardware_or_files_when_imported() -> None:
    """Module level and class bodies may define, not do: no call on torch.cuda, no opened file, no parsed argument."""
    doing = ("torch.cuda.", "torch.backends.", "open(", "Path.home(", "os.environ", "argparse.", "requests.", "urllib.")
    found = []
    for path in SOURCES:
        for statement in ast.parse(path.read_text("utf-8")).body:
            if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
                continue
            if isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test):
                continue
            calls = [ast.unparse(node) for node in ast.walk(statement) if isinstance(node, ast.Call)]
            found += [f"{relative(path)}: {call}" for call in calls if call.startswith(doing) or ".read_" in call]
    assert found == []
