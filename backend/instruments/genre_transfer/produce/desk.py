"""A song being produced: its clock, its sections, its buses, and what every recipe does with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backend.instruments.genre_transfer.produce.effects import RATE
from backend.instruments.genre_transfer.produce.harmony import Harmony
from backend.instruments.genre_transfer.produce.kernels import Samples
from backend.instruments.genre_transfer.produce.kits import DrumSet, Kit
from backend.instruments.genre_transfer.produce.patterns import Hits, written

GM_ROLES = {
    35: "kick", 36: "kick", 37: "rim", 38: "snare", 39: "clap", 40: "snare", 42: "hat", 44: "hat", 46: "open",
    49: "crash",
    51: "ride", 53: "ride", 57: "crash", 59: "ride", 41: "tom", 43: "tom", 45: "tom", 47: "tom", 48: "tom", 50: "tom",
}  # fmt: skip
TAIL_S = 0.5
GAINS = {
    "kick": 0.95,
    "snare": 0.7,
    "clap": 0.6,
    "hat": 0.24,
    "open": 0.26,
    "rim": 0.3,
    "shaker": 0.22,
    "crash": 0.3,
    "ride": 0.2,
    "tom": 0.4,
}


@dataclass(frozen=True)
class Section:
    """Bars of one kind: ``intro``, ``drop`` (the full arrangement) or ``break``."""

    kind: str
    first: int
    bars: int

    def __iter__(self) -> Any:
        return iter(range(self.first, self.first + self.bars))


@dataclass
class Song:
    """What a recipe writes into.

    Attributes:
        genre: whose drum patterns are played.
        rng: draws everything.
        tempo_bpm: of the quarter note.
        swing: how late every second sixteenth is, in sixteenths.
        human_s: standard deviation of a hit's time.
        bars: of four beats.
        sections: in order, without gaps.
        harmony: key and progression.
        kit: drum sounds.
        drums: those drawn for this song.
        buses: name → sound ``[2, samples]``.
        kicks_s: when the kick falls, for side-chain ducking.
        notes: what the recipe says about itself.
    """

    genre: str
    rng: np.random.Generator
    tempo_bpm: float
    swing: float
    human_s: float
    bars: int
    sections: Sequence[Section]
    harmony: Harmony
    kit: Kit
    drums: DrumSet
    bars_a_chord: float = 1.0
    buses: dict[str, Samples] = field(default_factory=dict)
    kicks_s: list[float] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def step_s(self) -> float:
        """Seconds of a sixteenth."""
        return 15.0 / self.tempo_bpm

    @property
    def bar_s(self) -> float:
        """Seconds of a bar."""
        return 16 * self.step_s

    @property
    def n(self) -> int:
        """Samples of the whole song, with the tail."""
        return round((self.bars * self.bar_s + TAIL_S) * RATE)

    def at(self, bar: int, step: float) -> float:
        """Time of a sixteenth of a bar in seconds, swung."""
        late = self.swing if int(step) % 2 and step == int(step) else 0.0
        return (16 * bar + step + late) * self.step_s

    def chord_index(self, bar: int, half: int = 0) -> int:
        """Which chord of the progression sounds in a half of a bar."""
        return int((bar + 0.5 * half) / self.bars_a_chord)

    def bus(self, name: str) -> Samples:
        """A bus, silent at first."""
        if name not in self.buses:
            self.buses[name] = np.zeros((2, self.n), np.float32)
        return self.buses[name]

    def add(self, bus: str, at_s: float, sound: Samples, gain: float = 1.0, pan: float = 0.0) -> None:
        """Mix a sound ``[samples]`` or ``[2, samples]`` in; ``pan`` -1 left to 1 right."""
        out, begin = self.bus(bus), max(0, round(at_s * RATE))
        if begin >= out.shape[1]:
            return
        part = sound[..., : out.shape[1] - begin]
        sides = np.array([[min(1.0, 1 - pan)], [min(1.0, 1 + pan)]], np.float32) * np.float32(gain)
        out[:, begin : begin + part.shape[-1]] += sides * part

    def hit(self, role: str, bar: int, step: float, loud: float = 1.0, bus: str = "drums", pan: float = 0.0) -> None:
        """Play a drum."""
        at_s = max(0.0, self.at(bar, step) + self.rng.normal(0, self.human_s))
        if role == "kick":
            self.kicks_s.append(at_s)
        self.add(bus, at_s, self.drums[role], GAINS[role] * loud * self.rng.uniform(0.88, 1.0), pan)

    def chance(self, section: Section, drop: float, intro: float, pause: float) -> bool:
        """Whether a layer plays in a section, by its kind."""
        return bool(self.rng.random() < {"drop": drop, "intro": intro, "break": pause}[section.kind])

    def play(
        self, role: str, pattern: Hits, bars: Section, sound: str | None = None, loud: float = 1.0, pan: float = 0.0
    ) -> None:
        """A pattern through a section; the kick and the snare on their own buses."""
        bus = role if role in ("kick", "snare") else "drums"
        for bar in bars:
            for step, level in pattern:
                self.hit(sound or role, bar, step, level * loud, bus, pan)

    def beat(self, layers: Mapping[str, tuple[float, float, float]], back: str = "snare") -> None:
        """The genre's written drums: layer → probabilities of sounding in a drop, an intro and a break.

        Args:
            layers: for ``kick``, ``snare``, ``hat``, ``open``, ``perc``.
            back: the sound on the backbeat: ``snare``, ``clap``, ``rim`` or ``both``.
        """
        perc, pan = str(self.rng.choice(["rim", "tom", "shaker", "ride"])), self.rng.uniform(-0.5, 0.5)
        patterns = {role: written(self.genre, role, self.rng) for role in layers}
        for section in self.sections:
            for role, (drop, intro, pause) in layers.items():
                if not self.chance(section, drop, intro, pause):
                    continue
                if role == "snare" and back == "both":
                    self.play(role, patterns[role], section, "clap", 0.7)
                sound = {"perc": perc, "snare": "snare" if back == "both" else back}.get(role)
                place = {"perc": pan, "hat": 0.5 * pan, "open": -0.4 * pan}.get(role, 0.0)
                self.play(role, patterns[role], section, sound, pan=place)

    def performed(self, section: Section) -> bool:
        """A played groove for a section instead of written drums, if the kit knows any."""
        played = self.kit.groove(self.rng, 4.0 * section.bars)
        if played is None:
            return False
        for beat, _, pitch, velocity in played:
            role = GM_ROLES.get(int(pitch))
            if role is not None and beat >= 0:
                bus = role if role in ("kick", "snare") else "drums"
                at_s = (section.first * 4 + float(beat)) * 4 * self.step_s
                if role == "kick":
                    self.kicks_s.append(at_s)
                self.add(bus, at_s, self.drums[role], GAINS[role] * (0.25 + 0.75 * float(velocity) / 127))
        return True
