"""How strong a simulated listener's signal must be to be read as well as a person's was, and never better."""

from __future__ import annotations

import logging
import math

import numpy as np

from backend.instruments.brain.laboratory import Listener
from backend.instruments.brain.listener import BASE, PAPER_IDENTIFICATION, ListenerConfig, SimulatedListener
from backend.instruments.brain.recording import simulate
from backend.instruments.brain.stimuli import Stimuli

logger = logging.getLogger(__name__)

RANGE = (0.05, 3.0)
STEPS = 7
DECODERS = ("ridge", "contrastive")


def identification(stimuli: Stimuli, seed: int, snr: float, config: ListenerConfig = BASE) -> float:
    """The better decoder's identification accuracy from auditory cortex."""
    recording = simulate(SimulatedListener(stimuli.features, seed, snr, config), stimuli.n_train)
    rows = stimuli.embeddings[[int(clip) for clip in recording.train_clips]]
    listener = Listener(recording, rows, stimuli.embeddings[stimuli.n_train :])
    return max(listener.decode(name, permutations=1).identification.accuracy for name in DECODERS)


def calibrate(
    stimuli: Stimuli, seed: int = 0, target: float = PAPER_IDENTIFICATION, config: ListenerConfig = BASE
) -> tuple[float, float]:
    """The largest strength found at which no decoder identifies better than ``target``, and what it reaches there.

    Bisection of the logarithm: accuracy rises with the strength, up to the noise of sixty clips, so what counts in the
    end is what was measured.

    Args:
        stimuli: what is heard.
        seed: of the listener.
        target: identification that is not exceeded.
        config: of the listener.
    """
    low, high = (math.log(edge) for edge in RANGE)
    best = (RANGE[0], 0.5)
    for _ in range(STEPS):
        middle = (low + high) / 2
        snr = float(np.round(math.exp(middle), 4))
        reached = identification(stimuli, seed, snr, config)
        logger.info("SNR %.4f: identification %.3f", snr, reached)
        if reached <= target:
            low = middle
            if reached >= best[1]:
                best = (snr, reached)
        else:
            high = middle
    return best
