"""The words of captions, by attribute: those of training and those kept for held-out captions."""

from __future__ import annotations

from collections.abc import Mapping

Words = Mapping[str, tuple[str, ...]]

TEMPO: dict[str, Words] = {
    "train": {
        "slow": ("slow", "slow", "slow-moving", "unhurried"),
        "medium": ("medium tempo", "mid-tempo", "moderate", "moderately paced"),
        "fast": ("fast", "fast", "quick", "up-tempo"),
    },
    "unseen": {
        "slow": ("leisurely", "languid", "plodding"),
        "medium": ("walking-pace", "steady-paced", "middling-tempo"),
        "fast": ("brisk", "rapid", "speedy"),
    },
}
TEMPO_TAIL: dict[str, Words] = {
    "train": {
        "slow": ("slow tempo", "at a slow tempo", "slow pace", "adagio", "played slowly"),
        "medium": ("medium tempo", "at a moderate tempo", "moderato", "moderate pace"),
        "fast": ("fast tempo", "at a fast tempo", "fast pace", "allegro", "played fast"),
    },
    "unseen": {
        "slow": ("taking its time", "with a lazy pulse", "hardly any hurry"),
        "medium": ("neither fast nor slow", "at a comfortable pace"),
        "fast": ("at high speed", "with a racing pulse", "going quickly"),
    },
}
BPM = {
    "train": ("{} bpm", "{} bpm", "at {} bpm", "{} BPM", "tempo {} bpm", "{} beats per minute"),
    "unseen": ("around {} beats a minute", "metronome at {}", "roughly {} bpm"),
}
MOOD: dict[str, Words] = {
    "train": {
        "sad": ("sad", "sad", "sorrowful", "mournful"),
        "melancholic": ("melancholic", "melancholy", "wistful"),
        "calm": ("calm", "relaxing", "tranquil"),
        "peaceful": ("peaceful", "soothing", "calm"),
        "gentle": ("gentle", "tender", "delicate"),
        "happy": ("happy", "cheerful", "joyful"),
        "bright": ("bright", "sunny", "uplifting"),
        "energetic": ("energetic", "exciting", "driving"),
        "tense": ("tense", "nervous", "suspenseful"),
        "dramatic": ("dramatic", "intense", "passionate"),
        "dark": ("dark", "brooding", "moody"),
        "warm": ("warm", "pleasant", "easygoing"),
        "solemn": ("solemn", "grave", "serious"),
        "majestic": ("majestic", "grand", "noble"),
    },
    "unseen": {
        "sad": ("heartbroken", "gloomy"),
        "melancholic": ("pensive", "bittersweet"),
        "calm": ("serene", "restful"),
        "peaceful": ("placid", "serene"),
        "gentle": ("soft-hearted", "tender-hearted"),
        "happy": ("merry", "jolly"),
        "bright": ("radiant", "optimistic"),
        "energetic": ("vigorous", "high-spirited"),
        "tense": ("edgy", "anxious"),
        "dramatic": ("stormy", "turbulent"),
        "dark": ("shadowy", "ominous"),
        "warm": ("heartwarming", "amiable"),
        "solemn": ("sombre", "austere"),
        "majestic": ("stately", "regal"),
    },
}
MODE = {
    "train": ("{m} key", "in a {m} key", "in {m}", "{m} mode", "{m} key"),
    "unseen": ("{m} tonality", "written in the {m}", "harmonies are {m}"),
}
KEY = {"train": ("in {k}", "key of {k}", "{k}"), "unseen": ("{k} tonality", "set in {k}")}
DYNAMICS: dict[str, Words] = {
    "train": {"soft": ("soft", "quiet"), "loud": ("loud", "powerful")},
    "unseen": {"soft": ("hushed", "understated"), "loud": ("booming", "full-throated")},
}
DENSITY: dict[str, Words] = {
    "train": {"sparse": ("sparse", "few notes", "minimal"), "busy": ("busy", "many notes", "dense")},
    "unseen": {"sparse": ("lots of space", "uncluttered"), "busy": ("packed with notes", "bustling")},
}
STYLE: dict[str, Words] = {
    "train": {
        "hip-hop": ("hip-hop", "hip hop", "lo-fi hip-hop"),
        "latin": ("latin",),
        "electronic": ("electronic", "dance", "electronic dance"),
        "jazz": ("jazz", "jazzy"),
        "funk": ("funk", "funky"),
        "classical": ("classical",),
        "folk": ("folk", "folk-like"),
        "soul": ("soul", "r&b"),
    },
    "unseen": {
        "hip-hop": ("boom-bap",),
        "latin": ("latin-flavoured",),
        "electronic": ("club", "edm"),
        "jazz": ("jazz-club",),
        "funk": ("groove-heavy funk",),
        "classical": ("concert-hall",),
        "folk": ("folksy",),
        "rock": ("rock and roll",),
        "soul": ("soulful r&b",),
        "country": ("country and western",),
    },
}
ENSEMBLE: dict[str, Words] = {
    "train": {
        "solo": ("solo",),
        "duo": ("duo", "duet"),
        "song": ("song",),
        "quartet": ("quartet",),
        "band": ("band", "full band", "groove"),
        "ambient": ("ambient", "soundscape"),
        "drums": ("drum solo", "drums only", "drum beat"),
    },
    "unseen": {
        "solo": ("one player alone",),
        "duo": ("two players",),
        "song": ("art song",),
        "quartet": ("four players",),
        "band": ("whole group",),
        "ambient": ("drifting atmosphere",),
        "drums": ("percussion on its own",),
    },
}
