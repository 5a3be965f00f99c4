"""Notes to sound through a General MIDI soundfont (tinysoundfont)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from backend.audio.loudness import limit
from backend.audio.midi import DRUM_CHANNEL, MELODIC_CHANNELS, Notes
from backend.audio.waveform import Waveform
from backend.errors import AudioError

SOUNDFONTS = (
    "MuseScore_General.sf2",
    "MuseScore_General.sf3",
    "MuseScore_General_Lite.sf3",
    "FluidR3_GM.sf2",
    "FluidR3Mono_GM.sf3",
)
"""Best first. MuseScore General is MIT licensed; pretty_midi's TimGM6mb is always there and comes last."""

FOLDERS = (
    Path("/usr/share/sounds/sf2"),
    Path("/usr/share/sounds/sf3"),
    Path("/usr/share/soundfonts"),
    Path("/usr/local/share/soundfonts"),
    Path("/opt/homebrew/share/soundfonts"),
)


def find_soundfont(folders: tuple[Path, ...] = FOLDERS) -> Path:
    """The best installed soundfont.

    Raises:
        AudioError: none, not even the one inside pretty_midi.
    """
    for name in SOUNDFONTS:
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    package = importlib.util.find_spec("pretty_midi")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).with_name("TimGM6mb.sf2")
        if bundled.is_file():
            return bundled
    raise AudioError("No General MIDI soundfont is installed; install the package musescore-general-soundfont.")


class Synth:
    """A loaded soundfont. Keep it: loading takes up to two seconds and half a gigabyte (compressed soundfonts).

    Args:
        soundfont: ``.sf2`` or ``.sf3``; `find_soundfont` when None.
        sample_rate: Hz of what it renders.

    Raises:
        AudioError: the soundfont cannot be read.
    """

    def __init__(self, soundfont: Path | None = None, sample_rate: int = 24_000) -> None:
        import tinysoundfont

        self.soundfont = find_soundfont() if soundfont is None else soundfont
        self.sample_rate = sample_rate
        self._synth = tinysoundfont.Synth(gain=-6.0, samplerate=sample_rate)
        try:
            self._id = self._synth.sfload(str(self.soundfont))
        except Exception as error:  # its exception types differ between versions
            raise AudioError(f"{self.soundfont.name} is not a soundfont that can be read.") from error

    def render(self, notes: Notes, tail_s: float = 1.0) -> Waveform:
        """Stereo sound of the notes, limited to -1 dBTP.

        Args:
            notes: table of `backend.audio.midi.NOTE`, at most 15 melodic parts.
            tail_s: kept after the last note for its release.

        Raises:
            AudioError: too many parts, or a program the soundfont lacks.
        """
        channels = self._assign(notes)
        events: list[tuple[int, int, int, int, int]] = []  # sample, 0 off / 1 on, channel, pitch, velocity
        for note in notes:
            channel, pitch = channels[int(note["part"])], int(note["pitch"])
            start, end = (round(float(note[name]) * self.sample_rate) for name in ("start_s", "end_s"))
            events.append((start, 1, channel, pitch, int(note["velocity"])))
            events.append((max(end, start + 1), 0, channel, pitch, 0))
        events.sort()
        length = (events[-1][0] if events else 0) + round(tail_s * self.sample_rate)
        buffer = np.zeros((length, 2), dtype=np.float32)
        now = 0
        for sample, on, channel, pitch, velocity in events:
            self._fill(buffer[now:sample])
            now = sample
            if on:
                self._synth.noteon(channel, pitch, velocity)
            else:
                self._synth.noteoff(channel, pitch)
        self._fill(buffer[now:])
        self._synth.sounds_off()
        self._synth.generate_simple(self.sample_rate // 5)  # let cut voices die here and not in the next render
        return limit(Waveform(buffer.T, self.sample_rate))

    def _fill(self, view: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        if len(view):
            view[:] = np.frombuffer(self._synth.generate_simple(len(view)), dtype=np.float32).reshape(-1, 2)

    def _assign(self, notes: Notes) -> dict[int, int]:
        """Part → channel, with its program selected."""
        channels: dict[int, int] = {}
        free = list(MELODIC_CHANNELS)
        for part in np.unique(notes["part"]):
            first = notes[notes["part"] == part][0]
            drum = bool(first["is_drum"])
            if not drum and not free:
                raise AudioError(f"At most {len(MELODIC_CHANNELS)} melodic parts can be played at once.")
            channel = DRUM_CHANNEL if drum else free.pop(0)
            program = int(first["program"])
            try:
                self._synth.program_select(channel, self._id, 0, program, drum)
            except Exception as error:
                if not drum:
                    raise AudioError(f"{self.soundfont.name} has no program {program}.") from error
                self._synth.program_select(channel, self._id, 0, 0, True)
            channels[int(part)] = channel
        return channels
