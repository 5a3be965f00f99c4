"""Base replay: what the generator itself plays on other prompts, so that an adapter does not forget the rest.

The data the base was trained on does not come with it, but what it learned does: it composes and plays a few pieces for
other instruments, and while the adapter is trained these stay what they were (Robins, "Catastrophic forgetting,
rehearsal and pseudorehearsal", 1995).
"""

from __future__ import annotations

import numpy as np
import torch

from backend.corpus.wording import MODE, MOOD, TEMPO
from backend.instruments.violin.examples import Example, of_events
from backend.job import Job
from backend.musiclm.compose import Wish
from backend.musiclm.events import CAST
from backend.musiclm.generator import MusicGenerator

REPLAY_S = 10.0
BATCH = 8
BOWED = ("violin", "fiddle")
"""Players that are never replayed: they are what an adapter of a violinist is to change."""
GUIDANCE = 3.0


def replay_prompts(count: int, rng: np.random.Generator) -> list[tuple[str, Wish]]:
    """Prompts that name an instrument, each with the wish for it; every instrument comes up before one comes again."""
    others = [i for i, who in enumerate(CAST) if who.name not in BOWED]
    order = np.concatenate([rng.permutation(others) for _ in range(-(-count // len(others)))])[:count]
    prompts = []
    for player in order.tolist():
        words = [
            str(rng.choice(list(table.values())[rng.integers(len(table))])) for table in (TEMPO["train"], MOOD["train"])
        ]
        mode = str(rng.choice(MODE["train"])).format(m=rng.choice(["major", "minor"]))
        prompts.append((f"{words[0]} {words[1]} {CAST[player].name}, {mode}", Wish(players=((player,),))))
    return prompts


@torch.inference_mode()
def make_replay(models: MusicGenerator, count: int, seed: int, job: Job) -> list[Example]:
    """Compose and play ``count`` pieces with the base alone.

    Args:
        models: without any adapter.
        count: pieces of ten seconds.
        seed: of prompts and music.
        job: told of every batch; may raise to stop.
    """
    prompts = replay_prompts(count, np.random.default_rng([seed, 4]))
    generator, examples = torch.Generator().manual_seed(seed), list[Example]()
    for start in range(0, count, BATCH):
        job.step(start, count, "Asking the base what to remember")
        part = prompts[start : start + BATCH]
        embed = models.embed([prompt for prompt, _ in part])
        clip = models.generate(
            embed, REPLAY_S, Job(), guidance_scale=GUIDANCE, temperature=1.0, generator=generator,
            wishes=[wish for _, wish in part],
        )  # fmt: skip
        for (prompt, _), events, codes, vector in zip(part, clip.events, clip.codes, embed, strict=True):
            played = codes.cpu().numpy().astype(np.int16)
            examples.append(of_events(events, played, vector.cpu().numpy().astype(np.float32), f"base/{prompt}"))
    return examples
