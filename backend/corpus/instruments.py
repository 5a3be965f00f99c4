"""The General MIDI instruments the corpus plays: names, families, ranges and what each can do in an ensemble."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAMILIES = (
    "piano",
    "guitar",
    "strings",
    "brass",
    "woodwind",
    "organ",
    "mallet",
    "voice",
    "synth",
    "plucked",
    "bass",
    "drums",
)


@dataclass(frozen=True)
class Instrument:
    """One General MIDI program as the corpus uses it.

    Attributes:
        program: General MIDI program, 0 to 127 (0 for the drum kit, with ``is_drum``).
        name: what metadata and captions call it.
        family: one of `FAMILIES`.
        low: lowest MIDI pitch that sounds natural.
        high: highest.
        roles: letters of what it can do: l(ead), c(hords), b(ass), p(ad), q(uartet voice), s(olo with all staves).
        synonyms: other names used in training captions.
        unseen: names kept for held-out captions.
    """

    program: int
    name: str
    family: str
    low: int
    high: int
    roles: str
    synonyms: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    is_drum: bool = False

    @property
    def polyphonic(self) -> bool:
        """Whether it may play chords."""
        return "c" in self.roles or "p" in self.roles or "s" in self.roles

    @property
    def sustains(self) -> bool:
        """Whether a held note keeps sounding (bowed, blown, sung, organ, pad) instead of decaying."""
        return self.family in ("strings", "brass", "woodwind", "organ", "voice", "synth") and self.program != 45


_ROWS: tuple[tuple[int, str, str, int, int, str, str, str], ...] = (
    (0, "piano", "piano", 28, 100, "lcs", "grand piano|acoustic piano", "concert grand|pianoforte"),
    (4, "electric piano", "piano", 36, 96, "lcs", "rhodes|e-piano", "Fender Rhodes keys"),
    (6, "harpsichord", "plucked", 36, 88, "lcs", "baroque harpsichord", "baroque keyboard"),
    (15, "dulcimer", "plucked", 50, 86, "lcs", "hammered dulcimer", "dulcimer played with hammers"),
    (8, "celesta", "mallet", 60, 100, "lcs", "celeste", "tiny bell keyboard"),
    (9, "glockenspiel", "mallet", 72, 103, "ls", "bells", "orchestra bells"),
    (10, "music box", "mallet", 60, 98, "lcs", "toy music box", "wind-up musical box"),
    (11, "vibraphone", "mallet", 53, 91, "lcs", "vibes", "vibraharp"),
    (12, "marimba", "mallet", 45, 94, "lcs", "wooden marimba", "rosewood mallets"),
    (13, "xylophone", "mallet", 60, 98, "l", "xylo", "wooden xylophone bars"),
    (108, "kalimba", "mallet", 55, 88, "lcs", "thumb piano", "mbira"),
    (114, "steel drums", "mallet", 52, 86, "lcs", "steelpan|steel pan", "Trinidad pans"),
    (16, "hammond organ", "organ", 36, 94, "lcps", "drawbar organ|electric organ", "B3 organ"),
    (19, "church organ", "organ", 36, 94, "lcps", "pipe organ", "cathedral organ"),
    (21, "accordion", "organ", 50, 92, "lcps", "squeezebox", "musette accordion"),
    (24, "nylon guitar", "guitar", 40, 84, "lcs", "classical guitar|spanish guitar", "nylon-string guitar"),
    (25, "acoustic guitar", "guitar", 40, 84, "lcs", "steel string guitar|folk guitar", "dreadnought guitar"),
    (26, "jazz guitar", "guitar", 40, 84, "lcs", "mellow electric guitar", "archtop guitar"),
    (27, "electric guitar", "guitar", 40, 86, "lcs", "clean electric guitar|clean guitar", "Stratocaster"),
    (28, "muted guitar", "guitar", 40, 80, "lc", "palm muted guitar", "damped guitar"),
    (29, "overdriven guitar", "guitar", 40, 86, "lc", "crunchy guitar", "gritty tube guitar"),
    (30, "distorted guitar", "guitar", 40, 86, "lc", "distortion guitar|heavy guitar", "fuzz guitar"),
    (32, "upright bass", "bass", 28, 60, "b", "double bass|acoustic bass", "standup bass"),
    (33, "electric bass", "bass", 28, 62, "bl", "bass guitar|fingered bass", "Fender bass"),
    (34, "picked bass", "bass", 28, 62, "b", "picked bass guitar", "plectrum bass"),
    (35, "fretless bass", "bass", 28, 62, "bl", "smooth fretless bass", "sliding bass"),
    (36, "slap bass", "bass", 28, 62, "b", "slapped bass", "thumb-slapped bass"),
    (38, "synth bass", "bass", 28, 60, "bl", "synthesizer bass|analog bass", "Moog bass"),
    (40, "violin", "strings", 55, 96, "lq", "solo violin", "bowed violin"),
    (41, "viola", "strings", 48, 84, "lq", "solo viola", "bowed viola"),
    (42, "cello", "strings", 36, 74, "lq", "violoncello", "bowed cello"),
    (45, "pizzicato strings", "strings", 40, 88, "lcqs", "plucked strings", "pizz strings"),
    (48, "string ensemble", "strings", 36, 92, "lcpqs", "strings|string section", "orchestral strings"),
    (110, "fiddle", "strings", 55, 90, "l", "folk fiddle", "country violin"),
    (46, "harp", "plucked", 36, 96, "lcs", "concert harp", "pedal harp"),
    (104, "sitar", "plucked", 48, 80, "l", "indian sitar", "raga sitar"),
    (105, "banjo", "plucked", 48, 84, "lcs", "bluegrass banjo", "five-string banjo"),
    (106, "shamisen", "plucked", 50, 80, "l", "japanese shamisen", "Japanese lute"),
    (107, "koto", "plucked", 50, 88, "lcs", "japanese koto", "Japanese zither"),
    (52, "choir", "voice", 43, 84, "lcpqs", "choir aahs|vocal choir", "chorus of singers"),
    (53, "voice oohs", "voice", 48, 84, "lpq", "voice|wordless voice|vocals", "humming singer"),
    (54, "synth voice", "voice", 48, 84, "lp", "synthetic voice", "vocoder voice"),
    (56, "trumpet", "brass", 54, 84, "lq", "solo trumpet", "bright trumpet"),
    (57, "trombone", "brass", 40, 72, "lq", "solo trombone", "slide trombone"),
    (58, "tuba", "brass", 28, 58, "bq", "deep tuba", "low tuba"),
    (59, "muted trumpet", "brass", 54, 82, "l", "trumpet with mute", "harmon-muted trumpet"),
    (60, "french horn", "brass", 40, 77, "lpq", "horn", "orchestral horn"),
    (61, "brass section", "brass", 43, 82, "lcp", "brass|horn section", "brass ensemble"),
    (64, "soprano sax", "woodwind", 56, 87, "lq", "soprano saxophone", "straight soprano sax"),
    (65, "alto sax", "woodwind", 49, 81, "lq", "alto saxophone|saxophone", "saxophone in alto range"),
    (66, "tenor sax", "woodwind", 44, 76, "lq", "tenor saxophone|sax", "smoky tenor"),
    (67, "baritone sax", "woodwind", 36, 68, "lq", "baritone saxophone", "bari sax"),
    (68, "oboe", "woodwind", 58, 91, "lq", "solo oboe", "orchestral oboe"),
    (69, "english horn", "woodwind", 52, 81, "lq", "cor anglais", "low oboe"),
    (70, "bassoon", "woodwind", 34, 70, "lbq", "solo bassoon", "low double-reed bassoon"),
    (71, "clarinet", "woodwind", 50, 91, "lq", "solo clarinet", "orchestral clarinet"),
    (72, "piccolo", "woodwind", 74, 104, "l", "piccolo flute", "tiny high flute"),
    (73, "flute", "woodwind", 60, 96, "lq", "solo flute|concert flute", "transverse flute"),
    (74, "recorder", "woodwind", 60, 91, "lq", "wooden recorder", "school recorder"),
    (75, "pan flute", "woodwind", 60, 92, "l", "panpipes", "Andean pipes"),
    (77, "shakuhachi", "woodwind", 55, 84, "l", "bamboo flute", "breathy Japanese flute"),
    (78, "whistle", "woodwind", 62, 96, "l", "whistling|whistled melody", "someone whistling"),
    (79, "ocarina", "woodwind", 60, 88, "l", "clay ocarina", "vessel flute"),
    (80, "square lead", "synth", 48, 92, "lc", "chiptune synth|square wave synth", "8-bit lead"),
    (81, "saw lead", "synth", 48, 90, "lc", "synth lead|sawtooth synth", "supersaw"),
    (50, "synth strings", "synth", 40, 90, "lcpqs", "synthetic strings", "string machine"),
    (88, "new age pad", "synth", 40, 90, "cps", "bell pad|shimmering pad", "crystalline pad"),
    (89, "warm pad", "synth", 36, 88, "lcps", "synth pad|soft pad", "analog pad"),
    (90, "polysynth", "synth", 40, 90, "lcps", "poly synth|synthesizer", "Juno synth"),
)


def _split(words: str) -> tuple[str, ...]:
    return tuple(words.split("|")) if words else ()


INSTRUMENTS: tuple[Instrument, ...] = tuple(
    Instrument(p, n, f, low, high, roles, _split(syn), _split(new)) for p, n, f, low, high, roles, syn, new in _ROWS
)
DRUMS = Instrument(0, "drums", "drums", 35, 81, "d", ("drum kit", "drum set"), ("acoustic drums",), is_drum=True)
BY_NAME = {i.name: i for i in (*INSTRUMENTS, DRUMS)}


def with_role(role: str, polyphonic: bool | None = None) -> tuple[Instrument, ...]:
    """Instruments that can take ``role`` (a letter of `Instrument.roles`), optionally only (non-)polyphonic ones."""
    return tuple(i for i in INSTRUMENTS if role in i.roles and polyphonic in (None, i.polyphonic))


def draw(
    rng: np.random.Generator, role: str, exclude: tuple[str, ...] = (), polyphonic: bool | None = None
) -> Instrument:
    """A random instrument for ``role``: family first, uniformly, then instrument, so that no family dominates.

    Args:
        rng: source of randomness.
        role: a letter of `Instrument.roles`.
        exclude: instrument or family names not to choose.
        polyphonic: only instruments that do (not) play chords.
    """
    pool = [i for i in with_role(role, polyphonic) if i.name not in exclude and i.family not in exclude]
    families = sorted({i.family for i in pool})
    family = families[rng.integers(len(families))]
    members = [i for i in pool if i.family == family]
    # The instruments people name most come first in their family and are drawn about twice as often.
    weights = np.array([2.0 if i.name in COMMON else 1.0 for i in members])
    return members[rng.choice(len(members), p=weights / weights.sum())]


COMMON = frozenset(
    {
        "piano",
        "violin",
        "cello",
        "flute",
        "trumpet",
        "acoustic guitar",
        "electric guitar",
        "church organ",
        "harp",
        "marimba",
        "vibraphone",
        "choir",
        "electric bass",
        "upright bass",
        "string ensemble",
        "clarinet",
        "tenor sax",
        "saw lead",
        "warm pad",
        "music box",
    }
)
