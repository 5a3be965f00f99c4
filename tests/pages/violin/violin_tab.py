"""Inputs of the violin's page, as a browser would send them."""

import zipfile

import numpy as np

from backend.audio import io
from backend.audio.waveform import Waveform
from backend.engine.background import Report

RATE = 24_000
GOOD = {
    "seed": 3, "prompt": "slow line", "negative": "drums", "duration_s": 8, "variations": 2, "guidance": 2.5,
    "temperature": 0.8, "adapter": "violin", "strength": 0.75, "second": "", "second_strength": 0.5, "part": "sound",
    "compare": True, "adherence": 0.5, "melody": None, "owned": {},
}  # fmt: skip
SETTINGS = [name for name in GOOD if name not in ("seed", "melody", "owned")]


class Kept:
    """Trainings with one that says what a test wants."""

    def __init__(self, folder, report=None):
        self.place, self.report, self.started = folder, report or Report(), []

    def status(self, token):
        return self.report

    def folder(self, token):
        return self.place

    def start(self, token, program):
        self.started.append(program)


def tone(seconds=1.0):
    return Waveform((0.3 * np.sin(np.arange(round(seconds * RATE)) / 8)).astype(np.float32), RATE)


def recording(path, seconds=1.0):
    return {"path": str(io.write(tone(seconds), path, "wav")), "orig_name": path.name}


def upload(path, content, name):
    path.write_bytes(content)
    return {"path": str(path), "orig_name": name}


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return {"path": str(path), "orig_name": "../Ada's.zip"}
