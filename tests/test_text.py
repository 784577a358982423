"""The text stage as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_text import tiny_shop, write_tiny_bert

from kgrec.text import TextConfig, embed_items, open_encoder
from kgrec.text_encoder import TextEncoder, Tokens

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> TextConfig:
    folder = write_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")
    return TextConfig(encoder=str(folder), max_length=8, precision="float32", device="cpu")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each pass through the model had."""
    counts: list[int] = []
    honest = TextEncoder.encode_tokens

    def counted(self: TextEncoder, tokens: Sequence[Tokens]) -> object:
        counts.append(len(tokens))
        return honest(self, tokens)

    monkeypatch.setattr(TextEncoder, "encode_tokens", counted)
    return counts


def test_one_unit_vector_an_item_in_its_order(frozen: TextConfig) -> None:
    shop = tiny_shop()
    assert shop.text is not None
    vectors = embed_items(shop, shop.interactions, frozen)
    assert vectors is not None
    assert vectors.shape == (40, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    order = np.random.default_rng(0).permutation(40)
    shuffled = replace(shop, text=shop.text.gather(order))
    permuted = embed_items(shuffled, shop.interactions, frozen)
    assert permuted is not None
    np.testing.assert_allclose(permuted, vectors[order], atol=1e-6)


def test_no_text_at_all_is_said(frozen: TextConfig, capsys: pytest.CaptureFixture[str]) -> None:
    for text in (None, pl.Series(["", None, "  "] + [""] * 37)):
        shop = replace(tiny_shop(), text=text)
        assert embed_items(shop, shop.interactions, frozen) is None
        assert "no text" in capsys.readouterr().err


def test_empty_texts_are_zero_and_equal_texts_equal(
    frozen: TextConfig, encoded: list[int], tmp_path: Path
) -> None:
    texts = ["red cup", "", None, "   ", "red cup", "blue pot"]
    shop = replace(tiny_shop(), text=pl.Series(texts))
    vectors = embed_items(shop, shop.interactions, frozen, tmp_path)
    assert vectors is not None
    assert sum(encoded) == 2
    assert not vectors[1:4].any()
    np.testing.assert_array_equal(vectors[0], vectors[4])
    assert not np.array_equal(vectors[0], vectors[5])


def test_a_second_run_encodes_only_what_changed(
    frozen: TextConfig, encoded: list[int], tmp_path: Path
) -> None:
    shop = tiny_shop()
    assert shop.text is not None
    first = embed_items(shop, shop.interactions, frozen, tmp_path)
    again = embed_items(shop, shop.interactions, frozen, tmp_path)
    assert sum(encoded) == 40
    np.testing.assert_array_equal(first, again)
    changed = replace(shop, text=pl.Series(["new black spoon", *shop.text[1:].to_list()]))
    embed_items(changed, shop.interactions, frozen, tmp_path)
    assert sum(encoded) == 41
    embed_items(shop, shop.interactions, replace(frozen, max_length=7), tmp_path)
    assert sum(encoded) == 81


def test_a_stopped_run_keeps_its_blocks_and_ends_the_same(
    frozen: TextConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgrec.text_encoder.BLOCK", 16)
    shop = tiny_shop()
    whole = embed_items(shop, shop.interactions, frozen, tmp_path / "whole")
    honest = TextEncoder.encode_tokens
    calls = iter(range(9))

    def killed(self: TextEncoder, tokens: Sequence[Tokens]) -> object:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return honest(self, tokens)

    with monkeypatch.context() as patch:
        patch.setattr(TextEncoder, "encode_tokens", killed)
        with pytest.raises(KeyboardInterrupt):
            embed_items(shop, shop.interactions, frozen, tmp_path / "stopped")
    counts: list[int] = []
    monkeypatch.setattr(
        TextEncoder,
        "encode_tokens",
        lambda self, tokens: (counts.append(len(tokens)), honest(self, tokens))[1],
    )
    resumed = embed_items(shop, shop.interactions, frozen, tmp_path / "stopped")
    assert sum(counts) == 8
    np.testing.assert_array_equal(resumed, whole)


def test_a_fitted_encoder_is_made_once_and_kept(
    frozen: TextConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = tiny_shop()
    config = replace(
        frozen,
        mode="full",
        max_steps=6,
        evaluate_every=3,
        batch_size=16,
        train_length=8,
        learning_rate=2e-3,
    )
    first = embed_items(shop, shop.interactions, config, tmp_path)
    assert "fitted the encoder (full" in capsys.readouterr().err
    again = embed_items(shop, shop.interactions, config, tmp_path)
    said = capsys.readouterr().err
    assert "fitted" not in said
    assert "0 of 40 texts" in said
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, embed_items(shop, shop.interactions, config))
    assert not np.array_equal(first, embed_items(shop, shop.interactions, frozen))
    (folder,) = (path for path in (tmp_path / "encoders").iterdir() if path.is_dir())
    assert not list((tmp_path / "encoders").glob("*checkpoint*"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    capsys.readouterr()
    open_encoder(shop, shop.interactions, config, tmp_path)
    assert "it is fitted again" in capsys.readouterr().err
