"""The only door to ``audiolm_pytorch`` 2.4 and ``musiclm_pytorch`` 0.2: everybody else imports their classes from here.

Importing them plainly has effects that must not leave this file:

- ``fairseq`` is imported unconditionally although only HuBERT needs it, and it does not run on Python 3.11: an empty
  module stands in for it while the import lasts.
- ``warnings.warn`` becomes a no-op, the root logger falls silent below ERROR, transformers' logger too: all restored.
- Each transformer asks the network for the size of a T5 text encoder, even when conditioned on audio embeddings: its
  configuration is filled in beforehand.
"""

from __future__ import annotations

import logging
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import transformers

T5_WIDTH = 768  # d_model of google/t5-v1_1-base, the encoder the transformers would ask for


@contextmanager
def _contained_import() -> Iterator[None]:
    """Stand in for fairseq, and put back what the packages change in the running process."""
    warn, show, level = warnings.warn, warnings.showwarning, logging.root.level
    verbosity = transformers.logging.get_verbosity()
    stands_in = "fairseq" not in sys.modules
    if stands_in:
        sys.modules["fairseq"] = types.ModuleType("fairseq")
    try:
        yield
    finally:
        if stands_in:
            del sys.modules["fairseq"]
        warnings.warn, warnings.showwarning = warn, show
        logging.root.setLevel(level)
        transformers.logging.set_verbosity(verbosity)


with _contained_import():
    import audiolm_pytorch
    import audiolm_pytorch.t5
    import musiclm_pytorch
    import musiclm_pytorch.musiclm_pytorch as mulan_parts
    from audiolm_pytorch import (
        CoarseTransformer,
        CoarseTransformerWrapper,
        FineTransformer,
        FineTransformerWrapper,
        SemanticTransformer,
        SemanticTransformerWrapper,
        SoundStream,
    )
    from musiclm_pytorch import AudioSpectrogramTransformer, MuLaN, MuLaNEmbedQuantizer, TextTransformer

audiolm_pytorch.t5.T5_CONFIGS.setdefault(
    audiolm_pytorch.t5.DEFAULT_T5_NAME, {"config": transformers.T5Config(d_model=T5_WIDTH)}
)

__all__ = [
    "AudioSpectrogramTransformer",
    "CoarseTransformer",
    "CoarseTransformerWrapper",
    "FineTransformer",
    "FineTransformerWrapper",
    "MuLaN",
    "MuLaNEmbedQuantizer",
    "SemanticTransformer",
    "SemanticTransformerWrapper",
    "SoundStream",
    "TextTransformer",
    "audiolm_pytorch",
    "mulan_parts",
    "musiclm_pytorch",
]
