"""An adapter as a file: peft's ``adapter_config.json`` and ``adapter_model.safetensors``, with what it belongs to.

The weights' metadata say which base it was trained on, from what, under which licence and how well it did. An adapter
of another base is refused: its products would be added to matrices that mean something else.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from backend.checkpoints import CheckpointStore, read_tensors, write_tensors
from backend.errors import CheckpointError
from backend.instruments.violin.lora import ADAPTER, TARGETS

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = ("text_to_music.semantic", "text_to_music.acoustic", "text_to_music.codec")
BUNDLED = "violin.adapter"
MAX_BYTES = 30_000_000
_KEY = re.compile(r"(semantic|acoustic)\.[\w.]+\.(lora_A\.weight|lora_B\.weight|weight|bias)")


def base_of(store: CheckpointStore) -> dict[str, str]:
    """Name → digest of the models an adapter is added to."""
    return {name: store.digest(name) for name in BASE}


@dataclass(frozen=True, eq=False)
class Adapter:
    """Trained products and where they came from.

    Attributes:
        name: for people.
        tensors: as peft saves them; float32.
        scale: factor of every product, ``alpha / rank``.
        base: name → digest of the models it belongs to.
        licence: of what it was trained on.
        figures: how well it did; plain values.
        settings: as `LoraSettings`, with the recipe.
    """

    name: str
    tensors: Mapping[str, Tensor]
    scale: float
    base: Mapping[str, str]
    licence: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, tensor in self.tensors.items():
            if not _KEY.fullmatch(key):
                raise CheckpointError(f"{self.name} is no adapter of this generator: it has a tensor {key[:80]!r}.")
            if key.endswith("lora_A.weight"):
                other = self.tensors.get(key.replace("lora_A", "lora_B"))
                if tensor.ndim != 2 or other is None or other.ndim != 2 or other.shape[1] != tensor.shape[0]:
                    raise CheckpointError(f"{self.name} is damaged: {key[:80]} has no product.")
        if not self.tensors or not math.isfinite(self.scale):
            raise CheckpointError(f"{self.name} holds no adapter.")

    def require_base(self, store: CheckpointStore) -> None:
        """Refuse an adapter that was trained on other weights.

        Raises:
            CheckpointError: naming the adapter and the part that differs.
        """
        for name, digest in base_of(store).items():
            if self.base.get(name) != digest:
                theirs = str(self.base.get(name, "nothing"))[:12]
                raise CheckpointError(
                    f"The adapter {self.name!r} belongs to another base: {name} is {digest[:12]} here and was "
                    f"{theirs} there. Train it again on this one."
                )

    def save(self, folder: Path) -> Path:
        """Write both files into ``folder``, floats as float16.

        Raises:
            CheckpointError: the disk refused.
        """
        rank = int(self.settings.get("rank", 8))
        whole = sorted({k.rsplit(".", 1)[0] for k in self.tensors if "lora_" not in k})
        config = {
            "peft_type": "LORA", "r": rank, "lora_alpha": self.scale * rank, "target_modules": TARGETS,
            "lora_dropout": self.settings.get("dropout", 0.0), "bias": "none", "fan_in_fan_out": False,
            "base_model_name_or_path": "neuromuse/text_to_music", "revision": self.base.get(BASE[0], "")[:12],
            "inference_mode": True, "modules_to_save": whole or None, "task_type": None,
        }  # fmt: skip
        said = {
            "format": "pt", "name": self.name, "scale": repr(self.scale), "base": json.dumps(dict(self.base)),
            "licence": self.licence, "figures": json.dumps(dict(self.figures)),
            "settings": json.dumps(dict(self.settings)),
        }  # fmt: skip
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
        except OSError as error:
            raise CheckpointError(f"The adapter cannot be saved to {folder}: {error.strerror}.") from error
        write_tensors(folder / WEIGHTS, self.tensors, said)
        return folder

    def archive(self, path: Path) -> Path:
        """Both files as one ``.zip``, which `load` reads again."""
        folder = self.save(path.with_suffix(""))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name in (CONFIG, WEIGHTS):
                file.write(folder / name, name)
        return path

    @classmethod
    def load(cls, path: Path) -> Adapter:
        """Read a folder or a ``.zip`` of the two files.

        Raises:
            CheckpointError: one of them is missing, damaged, pickled or of something else.
        """
        if path.is_file() and path.suffix.lower() == ".zip":
            return cls.load(_unpacked(path))
        folder = path if path.is_dir() else path.parent
        if not (folder / WEIGHTS).is_file() and any(folder.glob("*.bin")):
            raise CheckpointError(f"{path.name} holds pickled weights, which can run code; only safetensors are read.")
        tensors, said = read_tensors(folder / WEIGHTS, MAX_BYTES)
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            rank, alpha = int(config["r"]), float(config["lora_alpha"])
            if config.get("peft_type") != "LORA" or rank < 1:
                raise ValueError("not LoRA")
            base, figures, settings = (json.loads(said.get(key, "{}")) for key in ("base", "figures", "settings"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = "is missing" if isinstance(error, OSError) else "is no configuration of a LoRA adapter"
            raise CheckpointError(f"{CONFIG} of {path.name} {reason}.") from None
        name = said.get("name") or path.stem
        return cls(name[:80], tensors, alpha / rank, base, said.get("licence", ""), figures, settings)

    def store(self, store: CheckpointStore, card: str) -> None:
        """Bundle it under `BUNDLED`.

        Raises:
            CheckpointError: as `CheckpointStore.save`.
        """
        config = {
            "name": self.name, "scale": self.scale, "base": dict(self.base), "licence": self.licence,
            "settings": dict(self.settings),
        }  # fmt: skip
        store.save(BUNDLED, self.tensors, config, self.figures, card, force=True, dtype="float16")

    @classmethod
    def from_store(cls, store: CheckpointStore, name: str = BUNDLED) -> Adapter:
        """The adapter that comes with the app.

        Raises:
            CheckpointError: it is missing or altered.
        """
        config, entry = store.config(name), store.entry(name)
        return cls(
            str(config["name"]), store.load(name), float(config["scale"]), config["base"], str(config["licence"]),
            entry.metrics, config["settings"],
        )  # fmt: skip


def _unpacked(path: Path) -> Path:
    """The folder of an archive's two files, beside it; nothing else of it is written anywhere."""
    folder = path.with_suffix("")
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as file:
            inside = {Path(item.filename).name: item for item in file.infolist()}
            folder.mkdir(exist_ok=True)
            for name in (CONFIG, WEIGHTS):
                if name not in inside:
                    pickled = any(part.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl")) for part in inside)
                    what = "holds pickled weights; only safetensors are read" if pickled else f"has no {name}"
                    raise CheckpointError(f"{path.name} {what}.")
                if inside[name].file_size > MAX_BYTES:
                    raise CheckpointError(f"{name} of {path.name} unpacks to more than {MAX_BYTES} bytes.")
                (folder / name).write_bytes(file.read(inside[name]))
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path.name} is no archive of an adapter ({error}).") from None
    return folder


__all__ = ["ADAPTER", "BASE", "BUNDLED", "CONFIG", "WEIGHTS", "Adapter", "base_of"]
