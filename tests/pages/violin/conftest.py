import dataclasses
from types import SimpleNamespace

import gradio as gr
import pytest

from backend.engine.background import Trainings
from backend.settings import Settings
from pages import (
    violin,
    violin_adapters,
    violin_train,
)
from pages.exports import Exports
from pages.jobs import Jobs
from pages.parts import Desk


@pytest.fixture
def desk(tmp_path):
    trainings = Trainings(Settings(), tmp_path)
    (tmp_path / "exports").mkdir()
    return Desk(Jobs(None), Exports(tmp_path / "exports"), Settings(), (), trainings)


@pytest.fixture
def page(desk):
    with gr.Blocks(), gr.Tabs(), gr.Tab("Violin", id="violin"):
        token = gr.BrowserState("")
        form, bench, _ = violin._play(desk)
        panel = violin_train.TrainPanel.build(desk, token)
    return SimpleNamespace(form=form, bench=bench, panel=panel, steps=panel.steps, watch=panel.watch, token=token)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """The two files of an adapter of the bundled base, as bytes."""
    import torch

    from backend.checkpoints import CheckpointStore
    from backend.instruments.violin.adapter import Adapter, base_of

    tensors = {"semantic.x.lora_A.weight": torch.ones(2, 3), "semantic.x.lora_B.weight": torch.ones(3, 2)}
    folder = tmp_path_factory.mktemp("made")
    made = Adapter("Ada", tensors, 2.0, base_of(CheckpointStore()), "CC0", {"loss": 3.0, "base_loss": 4.0}, {"rank": 2})
    made.save(folder / "own")
    dataclasses.replace(made, base={"text_to_music.semantic": "another"}).save(folder / "strange")
    names = (violin_adapters.CONFIG, violin_adapters.WEIGHTS)
    return {kind: {name: (folder / kind / name).read_bytes() for name in names} for kind in ("own", "strange")}
