"""Captions: what is true of a clip, said in many ways. Some words and sentence forms are kept for held-out captions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backend.corpus.instruments import BY_NAME
from backend.corpus.wording import BPM, DENSITY, DYNAMICS, ENSEMBLE, KEY, MODE, MOOD, STYLE, TEMPO, TEMPO_TAIL

N_TRAIN, N_UNSEEN = 8, 3


def pick(words: tuple[str, ...], rng: np.random.Generator) -> str:
    """One of the words."""
    return words[int(rng.integers(len(words)))]


def _instrument(name: str, split: str, rng: np.random.Generator) -> str:
    instrument = BY_NAME[name]
    if split == "unseen":
        return pick(instrument.unseen or (name,), rng) if rng.random() < 0.5 else name
    return name if not instrument.synonyms or rng.random() < 0.65 else pick(instrument.synonyms, rng)


def _article(phrase: str) -> str:
    return f"{'an' if phrase[:1].lower() in 'aeiou' else 'a'} {phrase}"


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


@dataclass
class Facts:
    """What one caption will mention, each already in words; see `worded`.

    Attributes:
        adjectives: said before the noun.
        tail: said after it.
        style: of the music.
        ensemble: what kind of piece or group.
        solo: whether the lead plays alone.
        lead: its name; empty for a caption that names nobody.
        others: names of those who accompany it.
    """

    adjectives: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    style: str = ""
    ensemble: str = ""
    solo: bool = False
    lead: str = ""
    others: list[str] = field(default_factory=list)

    def say_tempo(self, meta: Mapping[str, Any], split: str, rng: np.random.Generator) -> None:
        """Add the tempo: as an adjective, in the tail, in beats a minute."""
        speed, how = meta["tempo_class"], rng.random()
        if how < 0.45:
            self.adjectives.append(pick(TEMPO[split][speed], rng))
        elif how < 0.65:
            self.tail.append(pick(TEMPO_TAIL[split][speed], rng))
        if how >= 0.65 or rng.random() < 0.25:
            self.tail.append(pick(BPM[split], rng).format(round(meta["tempo_bpm"])))

    def say_mode(self, meta: Mapping[str, Any], split: str, rng: np.random.Generator) -> None:
        """Add the key or the mode alone."""
        if meta["key"] and rng.random() < 0.3:
            self.tail.append(pick(KEY[split], rng).format(k=meta["key"]))
        else:
            self.tail.append(pick(MODE[split], rng).format(m=meta["mode"]))


def _facts_of(meta: Mapping[str, Any], split: str, rng: np.random.Generator) -> Facts:
    """A random subset of the truths."""

    def keep(probability: float) -> bool:
        return bool(rng.random() < probability)

    facts = Facts(solo=meta["ensemble"] == "solo")
    if keep(0.68 if meta["tempo_felt"] else 0.35):
        facts.say_tempo(meta, split, rng)
    if meta["mood"] and keep(0.55):
        facts.adjectives.append(pick(MOOD[split][meta["mood"]], rng))
    if meta["mode"] in ("major", "minor") and keep(0.55):
        facts.say_mode(meta, split, rng)
    if meta["dynamics"] in ("soft", "loud") and keep(0.25):
        facts.adjectives.append(pick(DYNAMICS[split][meta["dynamics"]], rng))
    if meta["density"] in ("sparse", "busy") and keep(0.15):
        facts.tail.append(pick(DENSITY[split][meta["density"]], rng))
    style = meta["style"]
    if keep(0.75 if meta["kind"] == "band" or meta["ensemble"] == "drums" else 0.15):
        facts.style = pick(STYLE[split].get(style, (style,)), rng)
    facts.ensemble = pick(ENSEMBLE[split][meta["ensemble"]], rng) if keep(0.35) else ""
    players = meta["instruments"]
    seen: list[str] = []
    for player in players:
        if player["name"] not in seen:
            seen.append(player["name"])
    if keep(0.92) or not (facts.adjectives or facts.tail or facts.style):
        facts.lead = _instrument(seen[0], split, rng)
        others = [n for n in seen[1:] if keep(0.75 if len(seen) <= 3 else 0.5)]
        gains = {p["name"]: p["gain_db"] for p in players}
        for name in others:
            words = _instrument(name, split, rng)
            backing = next(p["role"] for p in players if p["name"] == name) in ("chords", "pad")
            if backing and gains[name] <= -7 and meta["kind"] != "band" and keep(0.3):
                words = f"{'soft' if split == 'train' else 'faint'} {words}"
            facts.others.append(words)
    rng.shuffle(facts.adjectives)
    rng.shuffle(facts.tail)
    return facts


def describe(meta: Mapping[str, Any], rng: np.random.Generator, split: str = "train") -> str:
    """One caption that mentions a random part of the truth and nothing else.

    Args:
        meta: a clip's metadata.
        rng: source of randomness.
        split: ``train``, or ``unseen`` for words and sentence forms that no training caption uses.
    """
    return worded(_facts_of(meta, split, rng), rng, split)


def worded(facts: Facts, rng: np.random.Generator, split: str = "train") -> str:
    """The facts in a sentence form of the split, drawn at random."""
    form = (_TRAIN_FORMS if split == "train" else _UNSEEN_FORMS)[
        int(rng.integers(len(_TRAIN_FORMS if split == "train" else _UNSEEN_FORMS)))
    ]
    text = " ".join(form(facts, rng).replace(" ,", ",").split()).strip(" ,;")
    style = rng.random()
    if split == "train" and style < 0.3:
        return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
    return text.lower() if style < 0.4 else text


def captions(meta: Mapping[str, Any], rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """`N_TRAIN` training wordings and `N_UNSEEN` held-out ones, without duplicates where the facts allow."""
    out: list[list[str]] = []
    for split, count in (("train", N_TRAIN), ("unseen", N_UNSEEN)):
        wordings: list[str] = []
        for _ in range(count * 4):
            text = describe(meta, rng, split)
            if text not in wordings:
                wordings.append(text)
            if len(wordings) == count:
                break
        out.append(wordings)
    return out[0], out[1]


def _players(facts: Facts) -> str:
    return _joined([facts.lead, *facts.others]) if facts.lead else ""


def _noun(facts: Facts, rng: np.random.Generator) -> str:
    """``jazz piece``, ``duet``, ``music``."""
    head = facts.ensemble if facts.ensemble and facts.ensemble not in ("solo", "ambient", "one player alone") else ""
    head = head or pick(("piece", "music", "track", "tune"), rng)
    if facts.ensemble == "ambient":
        head = f"ambient {head}"
    return f"{facts.style} {head}"


def _tags(facts: Facts, rng: np.random.Generator) -> str:
    tags = [*facts.adjectives, *facts.tail, *facts.others]
    lead = facts.lead
    if lead and facts.solo and "solo" not in lead and rng.random() < 0.5:
        lead = f"solo {lead}"
    if lead:
        tags.append(lead)
    tags += [t for t in (facts.style, facts.ensemble) if t and t != "solo"]
    rng.shuffle(tags)
    return ", ".join(tags)


def _over(facts: Facts, rng: np.random.Generator) -> str:
    if not facts.lead:
        return _tags(facts, rng)
    lead = facts.lead
    if facts.solo and "solo" not in lead and rng.random() < 0.6:
        lead = f"solo {lead}"
    body = ", ".join(facts.adjectives) + " " + (facts.style if rng.random() < 0.6 else "") + " " + lead
    if facts.others:
        body += " " + pick(("over", "over", "with", "accompanied by", "and"), rng) + " " + _joined(facts.others)
    return ", ".join([body, *facts.tail])


def _piece_for(facts: Facts, rng: np.random.Generator) -> str:
    noun = f"{' '.join(facts.adjectives)} {_noun(facts, rng)}".strip()
    body = _article(" ".join(noun.split())) if rng.random() < 0.6 and "music" not in noun else noun
    if facts.lead:
        body += " " + pick(("for", "with", "featuring", "played by"), rng) + " " + _players(facts)
    return ", ".join([body, *facts.tail])


def _playing(facts: Facts, rng: np.random.Generator) -> str:
    if not facts.lead:
        return _piece_for(facts, rng)
    verb = "play" if facts.others else pick(("playing", "plays", "performing"), rng)
    noun = f"{', '.join(facts.adjectives)} {facts.style} {pick(('music', 'melody', 'tune'), rng)}"
    noun = " ".join(noun.split())
    what = noun if "music" in noun else _article(noun)
    return ", ".join([f"{_players(facts)} {verb} {what}", *facts.tail])


def _sentence(facts: Facts, rng: np.random.Generator) -> str:
    noun = " ".join(f"{' '.join(facts.adjectives)} {_noun(facts, rng)}".split())
    body = pick(("This is", "Here is"), rng) + " " + (noun if "music" in noun else _article(noun))
    if facts.lead:
        body += " " + pick(("with", "featuring"), rng) + " " + _players(facts)
    if facts.tail:
        tail = pick(("; ", ", "), rng).join(facts.tail)
        body += f". {tail[:1].upper()}{tail[1:]}"
    return body + "."


_TRAIN_FORMS = (_tags, _tags, _over, _over, _over, _piece_for, _piece_for, _playing, _sentence)


def _asked(facts: Facts, rng: np.random.Generator) -> str:
    body = pick(("please give me something", "I would love to hear something", "let's have something"), rng)
    body += " " + " and ".join(facts.adjectives)
    if facts.style:
        body += f" in the {facts.style} vein"
    if facts.lead:
        body += f" on the {facts.lead}" if facts.lead not in ("drums",) else " on drums"
    if facts.others:
        body += f", backed by {_joined(facts.others)}"
    return ", ".join([body, *facts.tail])


def _imagined(facts: Facts, rng: np.random.Generator) -> str:
    body = f"imagine {_players(facts)}" if facts.lead else f"imagine some {facts.style or 'music'}"
    details = [*facts.adjectives, *facts.tail]
    return body + (": " + "; ".join(details) if details else "")


def _scene(facts: Facts, rng: np.random.Generator) -> str:
    lead = facts.lead or f"some {facts.style or 'music'}"
    body = f"the tune belongs to {lead}" if facts.lead else f"we hear {lead}"
    if facts.others:
        body += f" with {_joined(facts.others)} behind it"
    feel = [*facts.adjectives, *facts.tail]
    return body + (f" - the feel is {', '.join(feel)}" if feel else "")


_UNSEEN_FORMS = (_asked, _imagined, _scene)
