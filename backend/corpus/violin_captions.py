"""Captions of solo violin: tempo, mode and mood, and how the bow moves. Most of them do not name the instrument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from backend.corpus.bowing import words_of
from backend.corpus.captions import N_TRAIN, N_UNSEEN, Facts, pick, worded
from backend.corpus.wording import DYNAMICS, MOOD, Words

NAMED = {"train": 0.25, "unseen": 0.2}
"""Share of the captions that name the instrument."""

STYLE: dict[str, Words] = {
    "train": {"baroque": ("baroque", "Bach-like", "baroque"), "romantic": ("romantic",), "classical": ("classical",)},
    "unseen": {
        "baroque": ("eighteenth-century music",),
        "romantic": ("nineteenth-century music",),
        "classical": ("concert-hall music",),
    },
}
FORM: Words = {
    "prelude": ("prelude", "prelude", "sonata movement"),
    "fugue": ("fugue", "sonata movement"),
    "sonata": ("sonata", "sonata movement"),
    "dance": ("dance", "partita movement", "suite movement"),
    "étude": ("étude", "etude", "study"),
    "nocturne": ("nocturne", "melody"),
    "waltz": ("waltz",),
    "mazurka": ("mazurka",),
    "polonaise": ("polonaise",),
    "ballade": ("ballade",),
    "song": ("song", "melody", "air", "song melody"),
    "air": ("air", "melody"),
}
"""Form of a piece → nouns that are true of it; what is not listed is said as it is."""

_PLAYER: dict[str, Words] = {
    "violin": {"train": ("violin", "violin", "solo violin"), "unseen": ("bowed violin", "violin played alone")},
    "fiddle": {"train": ("fiddle", "violin"), "unseen": ("country violin",)},
}

_CHOPIN = {
    "étude": (10, 25), "prelude": (28, 45), "nocturne": (9, 15, 27, 32, 37, 48, 55, 62), "waltz": (18, 34, 42, 64),
    "mazurka": (6, 7, 17, 24, 30, 33, 41, 50, 56, 59, 63), "polonaise": (22, 26, 40, 44, 53, 61),
    "ballade": (23, 38, 47, 52), "scherzo": (20, 31, 39, 54),
}  # fmt: skip
_BACH = {
    "bwv1001": ("prelude", "fugue", "dance", "sonata"),
    "bwv1002": ("dance",) * 8,
    "bwv1003": ("prelude", "fugue", "sonata", "sonata"),
    "bwv1004": ("dance", "dance", "dance", "dance", "chaconne"),
    "bwv1005": ("prelude", "fugue", "sonata", "sonata"),
    "bwv1006": ("prelude", "dance", "dance", "dance", "dance", "dance", "dance"),
}


def origin_of(source: str) -> tuple[str, str]:
    """Style and form of a piece, such as ``("baroque", "fugue")``; an empty form where none is known."""
    collection, name = source.split("/", 1)
    if collection == "bach_violin":
        work, movement = name.split("_mov")
        return "baroque", _BACH[work][int(movement) - 1]
    if collection == "openscore_lieder":
        return "romantic", "song"
    if collection == "chopin_first_editions":
        opus = re.match(r"\d+", name)
        forms = [form for form, numbers in _CHOPIN.items() if opus and int(opus[0]) in numbers]
        return "romantic", forms[0] if forms else ""
    return "classical", ""


def violin_captions(meta: Mapping[str, Any], rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Training wordings and held-out ones, as `backend.corpus.captions.captions`; a quarter names the instrument."""
    out: list[list[str]] = []
    for split, count in (("train", N_TRAIN), ("unseen", N_UNSEEN)):
        named = round(NAMED[split] * count) if split == "train" else int(rng.random() < NAMED[split] * count)
        wordings: list[str] = []
        for _ in range(count * 6):
            text = describe_violin(meta, rng, split, named=len(wordings) < named)
            if text not in wordings:
                wordings.append(text)
            if len(wordings) == count:
                break
        out.append([wordings[i] for i in rng.permutation(len(wordings))])
    return out[0], out[1]


def describe_violin(meta: Mapping[str, Any], rng: np.random.Generator, split: str, *, named: bool = False) -> str:
    """One caption that mentions a random part of the truth and nothing else.

    Args:
        meta: a clip's metadata.
        rng: source of randomness.
        split: ``train``, or ``unseen`` for words and sentence forms that no training caption uses.
        named: whether it names the instrument.
    """
    return worded(_facts_of(meta, split, rng, named=named), rng, split)


def _facts_of(meta: Mapping[str, Any], split: str, rng: np.random.Generator, *, named: bool) -> Facts:
    """A random subset of the truths, never fewer than two unless there are no more."""

    def keep(probability: float) -> bool:
        return bool(rng.random() < probability)

    facts = Facts()
    while len(facts.adjectives) + len(facts.tail) < 2:
        facts = Facts(solo=True)
        if keep(0.7 if meta["tempo_felt"] else 0.4):
            facts.say_tempo(meta, split, rng)
        if meta["mode"] in ("major", "minor") and keep(0.6):
            facts.say_mode(meta, split, rng)
        if meta["mood"] and keep(0.45):
            facts.adjectives.append(pick(MOOD[split][meta["mood"]], rng))
        if meta["dynamics"] in ("soft", "loud") and keep(0.25):
            facts.adjectives.append(pick(DYNAMICS[split][meta["dynamics"]], rng))
        shares = {"articulation": 0.6, "motion": 0.4, "register": 0.35, "texture": 0.4}
        said = [words_of(attribute, meta[attribute], split, rng) for attribute, share in shares.items() if keep(share)]
        facts.tail += [words for words in said if words]
    if keep(0.45):
        facts.style = pick(STYLE[split][meta["style"]], rng)
    if meta["form"] and keep(0.5):
        facts.ensemble = pick(FORM.get(meta["form"], (meta["form"],)), rng)
    if named:
        fiddle = meta["instruments"][0]["name"] == "fiddle"
        facts.lead = pick(_PLAYER["fiddle" if fiddle else "violin"][split], rng)
    rng.shuffle(facts.adjectives)
    rng.shuffle(facts.tail)
    return facts
