"""Low-rank adaptation of the generator's stages with peft (Hu et al., LoRA, arXiv 2106.09685).

The frozen weight ``W`` of every attention and feed-forward matrix gets a trainable product: ``W + α/r · B A``. The
semantic stage learns what a violinist plays, the acoustic stage how it sounds; what MusicLM calls its coarse and fine
stages is one here, and audiolm-pytorch's own are adapted by the same functions (`PACKAGE_TARGETS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from backend.contract import check_number

ADAPTER = "adapter"
"""peft's name of the one adapter that is being trained; files do not carry it."""
TARGETS = (
    r"semantic\.blocks\.\d+\.(to_qkv|to_out|expand|contract)|semantic\.heads\.\d+\.(expand|contract)"
    r"|acoustic\.(guide\.(expand|shapes)|blocks\.\d+\.(expand|contract))"
)
PACKAGE_TARGETS = r".*branch\.(to_q|to_kv|to_out\.0|1|5)"
"""Attention and feed-forward of audiolm-pytorch's transformers, whose branches are unnamed sequences."""
OUTPUT_LAYERS = r"semantic\.heads\.\d+\.logits|acoustic\.out"


@dataclass(frozen=True)
class LoraSettings:
    """How much may change.

    Attributes:
        rank: of the products, 1 to 64.
        alpha: the product is scaled by ``alpha / rank``.
        dropout: of what goes into a product while training, 0 to 0.5.
        output_layer: also train a copy of the last layer of each stage, as a task-specific output layer.

    Raises:
        RequestError: naming the field, the value and the allowed range.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    output_layer: bool = False

    def __post_init__(self) -> None:
        check_number("lora_rank", self.rank, 1, 64, integer=True)
        check_number("lora_alpha", self.alpha, 0.5, 256)
        check_number("lora_dropout", self.dropout, 0, 0.5)


def inject(models: nn.Module, settings: LoraSettings, targets: str = TARGETS) -> Any:
    """Freeze ``models`` and put trainable products beside its matrices, in place.

    Args:
        models: for `TARGETS` a ``ModuleDict`` of the stages by name.
        settings: of the adapter.
        targets: regular expression of full module names.

    Returns:
        peft's configuration, as it is saved beside the weights.
    """
    import re

    from peft import LoraConfig, inject_adapter_in_model

    from backend.instruments.violin.product import LinearWithProduct

    names = [name for name, module in models.named_modules() if isinstance(module, nn.Linear)]
    whole = [name for name in names if settings.output_layer and re.fullmatch(OUTPUT_LAYERS, name)]
    config = LoraConfig(
        r=int(settings.rank), lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft divides it by r, whole or not
        lora_dropout=settings.dropout, target_modules=targets,
        modules_to_save=whole or None,
    )  # fmt: skip
    config._register_custom_module({nn.Linear: LinearWithProduct})
    models.requires_grad_(False)
    inject_adapter_in_model(config, models, ADAPTER)
    models.peft_config = {ADAPTER: config}  # type: ignore[assignment]  # where peft looks when it saves and loads
    return config


def adapter_state(models: nn.Module) -> dict[str, Tensor]:
    """What was trained, as peft names it: ``semantic.blocks.0.to_qkv.lora_A.weight`` …; on the CPU."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(models, adapter_name=ADAPTER)
    return {key: value.detach().cpu().clone() for key, value in state.items()}


def set_adapter_state(models: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put trained weights back into injected models."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(models, dict(state), adapter_name=ADAPTER)


def set_strength(models: nn.Module, settings: LoraSettings, strength: float) -> None:
    """Scale all products of injected models without merging them; 0 switches them off altogether."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in models.modules():
        if isinstance(module, BaseTunerLayer):
            module.scaling[ADAPTER] = settings.alpha / settings.rank * strength  # type: ignore[index,operator]
            module.enable_adapters(strength != 0.0)


def trained_parameters(models: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(p.numel() for p in models.parameters() if p.requires_grad)


def settings_of(values: Mapping[str, Any]) -> LoraSettings:
    """The settings that ``asdict`` wrote."""
    return LoraSettings(**{key: values[key] for key in asdict(LoraSettings()) if key in values})
