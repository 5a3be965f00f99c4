"""Trainings that outlive the page: a program in a process of its own, its folder, and the token that opens both.

A program is run as ``python -m MODULE --out FOLDER …``. It writes ``status.json`` there, an object with at least
``state`` and ``message`` (``done``, ``stopped`` and ``failed`` are last words), ends when it finds a file ``stop``, and
goes on where it was when the same command is run again. What it is that is trained is not known here.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from backend.errors import Busy, NeuromuseError
from backend.settings import Settings

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "neuromuse-training-"
PLAN, STATUS, STOP, SEEN, LOG = "training.json", "status.json", "stop", "seen", "log.txt"
TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")
ENDED = ("done", "stopped", "failed")
STOP_S = 20.0  # what a program has to obey before it is killed
KEPT_S, UNUSED_S = 24 * 3600.0, 3600.0  # without being asked for: started, and never started
SWEEP_S = 300.0
NICE = 10
GONE = "This training is no longer kept."
CUT_OFF = "Training ended without a word; resume it to go on from what was saved last."


@dataclass(frozen=True)
class Program:
    """What is run.

    Attributes:
        module: as in ``python -m``.
        argv: its arguments but ``--out``.
        private: names in the folder that are deleted as soon as it is done.
        public: patterns of names that `Trainings.file` gives out.
    """

    module: str
    argv: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    public: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """How a training is.

    Attributes:
        state: ``ready`` before it was started, then what the program says, at last one of `ENDED`.
        message: what is going on, or the sentence of a failure.
        alive: whether its process runs.
        said: all that the program wrote.
    """

    state: str = "ready"
    message: str = ""
    alive: bool = False
    said: Mapping[str, Any] = field(default_factory=dict)


class Trainings:
    """The trainings of one server, one running at a time. All calls are safe from any thread.

    A training belongs to whoever has its token. It goes on when the page is closed, and also when the server ends: the
    next server finds it by its token. What is not asked for during a day is deleted.

    Args:
        settings: device's threads and the folders of weights.
        root: where the folders are; the system's folder for temporary files by default.
        stop_s: how long a program has to obey before it is killed.
    """

    def __init__(self, settings: Settings, root: Path | None = None, stop_s: float = STOP_S) -> None:
        self._settings, self._root, self._stop_s = settings, root, stop_s
        self._lock = threading.RLock()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._mine: set[str] = set()
        self._stopped: set[str] = set()
        self._closed = threading.Event()
        self._sweeper: threading.Thread | None = None

    def open(self) -> str:
        """Make an empty folder that only this user can read; returns its token.

        Raises:
            NeuromuseError: the disk refused.
        """
        token = secrets.token_urlsafe(16)
        folder = self._path(token)
        try:
            folder.mkdir(mode=0o700)
            (folder / SEEN).touch()
        except OSError as error:
            raise NeuromuseError(f"Nothing can be kept in {folder.parent}: {error.strerror}.") from error
        with self._lock:
            self._mine.add(token)
        self.keep_swept()
        return token

    def keep_swept(self) -> None:
        """Sweep now and then from now on, until `shutdown`; what earlier servers left as well."""
        with self._lock:
            if self._sweeper is None and not self._closed.is_set():
                self._sweeper = threading.Thread(target=self._sweep_now_and_then, daemon=True)
                self._sweeper.start()

    def folder(self, token: str) -> Path:
        """The folder of a training.

        Raises:
            NeuromuseError: there is none.
        """
        folder = self._own(token)
        if folder is None:
            raise NeuromuseError(GONE)
        with self._lock:
            self._mine.add(token)
        return folder

    def start(self, token: str, program: Program) -> None:
        """Run a program in the folder of ``token``, niced, with one thread fewer than the machine has.

        Raises:
            Busy: another training runs.
            NeuromuseError: no such folder, or the process cannot be made.
        """
        folder = self.folder(token)
        plan = folder / PLAN
        with self._lock:
            if any(self._alive(other) for other in self._mine):
                raise Busy("A training is running on this machine already; one at a time. Try again when it has ended.")
            self._stopped.discard(token)
            (folder / STOP).unlink(missing_ok=True)
            argv = [sys.executable, "-m", program.module, "--out", str(folder), *program.argv]
            try:
                with (folder / LOG).open("ab") as output:
                    process = subprocess.Popen(
                        argv, cwd=ROOT, env=self._environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                        start_new_session=True,
                    )  # fmt: skip
                os.setpriority(os.PRIO_PGRP, process.pid, NICE)
                born = psutil.Process(process.pid).create_time()
            except (OSError, psutil.Error) as error:
                raise NeuromuseError(f"The training cannot be started ({error}).") from error
            plan.write_text(json.dumps({"program": asdict(program), "pid": process.pid, "born": born}), "utf-8")
            self._processes[token] = process
        log.info("training started")
        threading.Thread(target=self._await, args=(token, process), daemon=True).start()

    def resume(self, token: str) -> None:
        """Run the same command again.

        Raises:
            Busy: this or another training runs.
            NeuromuseError: there is nothing to go on with.
        """
        self.folder(token)
        planned = self._plan(token)
        if planned is None:
            raise NeuromuseError("This training was never started.")
        if self.status(token).state == "done":
            raise NeuromuseError("This training has ended; its recordings were deleted.")
        kept = planned["program"]
        lists = (tuple(kept[name]) for name in ("argv", "private", "public"))
        self.start(token, Program(kept["module"], *lists))

    def status(self, token: str) -> Report:
        """How it is. Asking keeps it for another day.

        Raises:
            NeuromuseError: no such training.
        """
        folder = self.folder(token)
        (folder / SEEN).touch()
        if self._plan(token) is None:
            return Report()
        alive = self._alive(token)  # before what it says: the last word comes before the end
        said = _read(folder / STATUS)
        state, message = str(said.get("state", "preparing")), str(said.get("message", ""))
        if alive and state in ("stopped", "failed"):
            return Report("preparing", "Going on where it stopped", True, said)
        if alive:
            return Report("training" if state == "done" else state, message or "Starting", True, said)
        if state == "done":
            self._forget_private(token)
        elif state not in ENDED:
            asked = token in self._stopped
            state, message = ("stopped", "Stopped; training can be resumed.") if asked else ("failed", CUT_OFF)
        return Report(state, message, False, said)

    def stop(self, token: str) -> None:
        """Ask it to end, and kill it when it does not in time. Returns at once; it can be resumed.

        Raises:
            NeuromuseError: no such training.
        """
        folder = self.folder(token)
        if not self._alive(token):
            return
        (folder / STOP).touch()
        pid = self._pid(token)
        self._stopped.add(token)

        def kill() -> None:
            if self._pid(token) == pid and self._alive(token):
                self._kill(token)

        timer = threading.Timer(self._stop_s, kill)
        timer.daemon = True
        timer.start()

    def delete(self, token: str) -> None:
        """End it and delete all of it."""
        try:
            folder = self.folder(token)
        except NeuromuseError:
            return
        self._kill(token)
        shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._mine.discard(token)
            self._processes.pop(token, None)
            self._stopped.discard(token)

    def file(self, token: str, name: str) -> Path | None:
        """A file that the program made for everybody who has the token; None for any other."""
        try:
            path, planned = self.folder(token) / name, self._plan(token)
        except NeuromuseError:
            return None
        public = planned["program"]["public"] if planned else ()
        allowed = Path(name).name == name and any(fnmatch.fnmatchcase(name, pattern) for pattern in public)
        return path if allowed and path.is_file() else None

    def shutdown(self) -> None:
        """Delete all that this server knows of and does not run; what runs goes on."""
        self._closed.set()
        for token in tuple(self._mine):
            if not self._alive(token):
                self.delete(token)

    def sweep(self) -> None:
        """Delete what nobody asked for during a day, or an hour where nothing was started.

        Of those that are done what is private is deleted at once.
        """
        for folder in self._parent().glob(f"{PREFIX}*"):
            token = folder.name.removeprefix(PREFIX)
            if self._own(token) is None:
                continue
            try:
                age_s = time.time() - (folder / SEEN).stat().st_mtime
                if age_s > (KEPT_S if (folder / PLAN).exists() else UNUSED_S):
                    self.delete(token)
                elif _read(folder / STATUS).get("state") == "done":
                    self._forget_private(token)
            except OSError:  # deleted meanwhile
                continue

    def _own(self, token: str) -> Path | None:
        """The folder of ``token`` where there is one that this user made; others can make some of that name as well."""
        folder = self._path(token) if isinstance(token, str) and TOKEN.fullmatch(token) else None
        if folder is None or folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
            return None
        return folder

    def _sweep_now_and_then(self) -> None:
        while True:
            self.sweep()
            if self._closed.wait(SWEEP_S):
                return

    def _await(self, token: str, process: subprocess.Popen[bytes]) -> None:
        """Until the process is over; what is private goes when it was done."""
        process.wait()
        folder = self._path(token)
        if _read(folder / STATUS).get("state") == "done":
            self._forget_private(token)
        log.info("training ended")

    def _forget_private(self, token: str) -> None:
        planned = self._plan(token)
        for name in planned["program"]["private"] if planned else ():
            path = self._path(token) / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _environment(self) -> dict[str, str]:
        cores = self._settings.threads or psutil.cpu_count(logical=False) or os.cpu_count() or 1
        threads = str(max(1, cores - 1))
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        own = dict.fromkeys(names, threads)
        if self._settings.checkpoint_dirs:
            own["NEUROMUSE_CHECKPOINTS"] = os.pathsep.join(map(str, self._settings.checkpoint_dirs))
        return os.environ | own

    def _alive(self, token: str) -> bool:
        with self._lock:
            process = self._processes.get(token)
        if process is not None:
            return process.poll() is None
        return self._process(token) is not None

    def _process(self, token: str) -> psutil.Process | None:
        """The process of an earlier server's training, if it still runs."""
        try:
            planned = self._plan(token)
            if planned is None:
                return None
            process = psutil.Process(int(planned["pid"]))
            same = abs(process.create_time() - float(planned["born"])) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.Error, KeyError, ValueError, TypeError):
            return None

    def _pid(self, token: str) -> int | None:
        planned = self._plan(token)
        return None if planned is None else int(planned["pid"])

    def _kill(self, token: str) -> None:
        """End the whole process group and wait for it."""
        if not self._alive(token):
            return
        pid = self._pid(token)
        if pid is None:
            return
        try:
            os.killpg(pid, signal.SIGKILL)
            with self._lock:
                process = self._processes.get(token)
            if process is not None:
                process.wait(10)
            else:
                psutil.wait_procs([psutil.Process(pid)], timeout=10)
        except (OSError, psutil.Error, subprocess.TimeoutExpired):
            log.warning("a training could not be ended")

    def _plan(self, token: str) -> dict[str, Any] | None:
        return _read(self._path(token) / PLAN) or None

    def _parent(self) -> Path:
        return self._root or Path(tempfile.gettempdir())

    def _path(self, token: str) -> Path:
        return self._parent() / f"{PREFIX}{token}"


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
