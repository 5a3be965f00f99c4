import itertools
import random
import re

import numpy as np

from backend.corpus.bands import STYLES
from backend.corpus.captions import describe
from backend.corpus.instruments import BY_NAME
from backend.instruments.text_to_music.request import TextToMusicRequest
from pages.words import CHIPS, PRESETS, surprise

WORDS = [word for group in CHIPS for word in group.words]


def test_no_chip_is_part_of_another_so_that_one_can_be_removed_without_the_other():
    for a, b in itertools.permutations(WORDS, 2):
        assert not re.search(rf"\b{re.escape(a)}\b", b)


def test_every_preset_and_surprise_is_a_request_the_instrument_accepts():
    for preset in PRESETS:
        TextToMusicRequest(
            prompt=preset.prompt, guidance_scale=preset.guidance_scale, temperature=preset.temperature, seed=1
        )
    for seed in range(50):
        TextToMusicRequest(prompt=surprise(random.Random(seed)))


def test_surprises_differ_and_are_repeatable_from_their_random_source():
    made = [surprise(random.Random(seed)) for seed in range(40)]
    assert len(set(made)) > 30
    assert made == [surprise(random.Random(seed)) for seed in range(40)]


def test_chips_speak_the_training_captions_language():
    """Every chip is an instrument's name, a style, or can be read in captions of clips of which it is true."""
    rng = np.random.default_rng(0)
    lead = {"name": "piano", "family": "piano", "role": "lead", "gain_db": 0.0, "program": 0}
    truths = {
        "mood": ("happy", "sad", "calm", "melancholic", "tense", "dramatic", "energetic", "gentle"),
        "key": ("C major", "A minor", "D minor"),
        "tempo": (("slow", 70.0), ("medium", 100.0), ("fast", 140.0)),
    }
    said = ""
    for mood, key, (tempo, bpm) in itertools.product(*truths.values()):
        meta = {
            "tempo_class": tempo, "tempo_bpm": bpm, "tempo_felt": True, "mood": mood, "key": key,
            "mode": key.split()[1], "dynamics": "soft", "density": "sparse", "style": "classical",
            "ensemble": "quartet", "kind": "score", "instruments": [lead], "register": "mid",
        }  # fmt: skip
        said += " ".join(describe(meta, rng) for _ in range(6)) + "\n"
    instruments = {name for entry in BY_NAME.values() for name in (entry.name, *entry.synonyms)}
    for group in CHIPS:
        for word in group.words:
            assert word in (instruments if group.id == "instrument" else STYLES) or word in said, word
