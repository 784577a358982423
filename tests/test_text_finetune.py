"""Fitting an encoder to pairs of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_text import tiny_shop, write_tiny_bert

from kgrec import text_finetune
from kgrec.errors import ConfigError, DataError
from kgrec.text_config import TextConfig
from kgrec.text_encoder import TextEncoder
from kgrec.text_finetune import fine_tune, parameter_groups, rate_factor, trainable
from kgrec.text_pairs import TextPairs, text_pairs

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    folder = write_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")
    return TextEncoder.load(folder, max_length=8, precision="float32", device="cpu")


@pytest.fixture(scope="module")
def pairs() -> TextPairs:
    shop = tiny_shop()
    return text_pairs(shop, shop.interactions, seed=7, cap=9, n_together=120, n_attribute=30)


def settings(**changes: Any) -> TextConfig:
    small: dict[str, Any] = {
        "mode": "full",
        "max_length": 8,
        "train_length": 8,
        "batch_size": 16,
        "max_steps": 12,
        "evaluate_every": 4,
        "learning_rate": 2e-3,
        "validation_pairs": 20,
    }
    return TextConfig(**(small | changes))


def weights(encoder: TextEncoder) -> dict[str, Any]:
    return {name: w.detach().numpy().copy() for name, w in encoder.model.named_parameters()}


def colour_gap(encoder: TextEncoder) -> float:
    """How much closer items of one colour lie than items of two, in cosine."""
    text = tiny_shop().text
    assert text is not None
    vectors = encoder.encode(text.to_list())
    colour = np.repeat(np.arange(4), 10)
    same, cosine = colour[:, None] == colour, vectors @ vectors.T
    return float(cosine[same].mean() - cosine[~same].mean())


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_what_is_bought_together_comes_together(
    encoder: TextEncoder, pairs: TextPairs, mode: str
) -> None:
    before = weights(encoder)
    fitted, standing = fine_tune(encoder, pairs, settings(mode=mode, max_steps=24, temperature=0.2))
    assert standing.best_mrr > standing.looks[0][1] + 0.1
    assert colour_gap(fitted) > colour_gap(encoder) + 0.05
    for name, weight in weights(encoder).items():
        np.testing.assert_array_equal(weight, before[name])


def test_lora_trains_adapters_alone(encoder: TextEncoder, pairs: TextPairs) -> None:
    model = trainable(encoder.model, settings(mode="lora", lora_rank=2))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert not any("pooler" in name for name in trained)
    fitted, _ = fine_tune(encoder, pairs, settings(mode="lora"))
    start, end = weights(encoder), weights(fitted)
    assert start.keys() == end.keys()  # merged: an ordinary model again
    changed = {name for name in start if not np.array_equal(start[name], end[name])}
    assert changed
    assert all(name.endswith("weight") and "embeddings" not in name for name in changed)


def test_rates_fall_layer_by_layer(encoder: TextEncoder) -> None:
    config = settings(learning_rate=1.0, layer_decay=0.5, weight_decay=0.1)
    model = trainable(encoder.model, config)
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    group_of = {
        id(weight): group for group in parameter_groups(named, config) for weight in group["params"]
    }
    assert len(group_of) == len(named)
    for name, weight in named.items():
        group = group_of[id(weight)]
        expected = 0.25 if "embeddings" in name else 0.5 if "layer.0." in name else 1.0
        assert group["peak"] == expected, name
        assert group["weight_decay"] == (0 if "bias" in name or "LayerNorm" in name else 0.1)


def test_rate_climbs_then_falls() -> None:
    config = settings(max_steps=100, warmup=0.1)
    rates = [rate_factor(step, config) for step in range(100)]
    peak = int(np.argmax(rates))
    assert peak == 10
    assert 0 < rates[0] < rates[5] < rates[peak] == 1
    assert all(a > b for a, b in zip(rates[peak:], rates[peak + 1 :], strict=False))
    assert rates[-1] < 0.01


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_killed_fit_ends_like_one_that_was_not(
    encoder: TextEncoder,
    pairs: TextPairs,
    mode: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = settings(mode=mode)
    whole, standing = fine_tune(encoder, pairs, config)

    def killed_after(step: int) -> Any:
        train = text_finetune._Fit.train

        def stop(self: Any, batch: Any) -> None:
            if self.at.step == step:
                raise KeyboardInterrupt
            train(self, batch)

        return stop

    checkpoint = tmp_path / "fit.safetensors"
    for step in (6, 10):
        with monkeypatch.context() as patch:
            patch.setattr(text_finetune._Fit, "train", killed_after(step))
            with pytest.raises(KeyboardInterrupt):
                fine_tune(encoder, pairs, config, checkpoint)
    resumed, again = fine_tune(encoder, pairs, config, checkpoint)
    assert again == standing
    expected = weights(whole)
    for name, weight in weights(resumed).items():
        np.testing.assert_array_equal(weight, expected[name])


def test_a_damaged_or_foreign_checkpoint_is_said(
    encoder: TextEncoder, pairs: TextPairs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "fit.safetensors"
    whole, _ = fine_tune(encoder, pairs, settings(max_steps=4), checkpoint)
    fine_tune(encoder, pairs, settings(max_steps=4, seed=8), checkpoint)
    assert "other data or settings" in capsys.readouterr().err
    checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    again, _ = fine_tune(encoder, pairs, settings(max_steps=4), checkpoint)
    assert "is damaged" in capsys.readouterr().err
    np.testing.assert_array_equal(again.encode(["red cup"]), whole.encode(["red cup"]))


def test_it_stops_early_and_keeps_the_best(
    encoder: TextEncoder, pairs: TextPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = iter([0.5, 0.6, 0.4, 0.3, 0.2])
    monkeypatch.setattr(text_finetune, "mean_reciprocal_rank", lambda *_: next(falling))
    config = settings(max_steps=40, patience=2)
    stopped, standing = fine_tune(encoder, pairs, config)
    assert (standing.step, standing.best_step, standing.best_mrr) == (12, 4, 0.6)
    monkeypatch.setattr(text_finetune, "mean_reciprocal_rank", lambda *_: 0.0)
    unmoved, standing = fine_tune(encoder, pairs, config)
    assert standing.best_step == 0
    np.testing.assert_array_equal(unmoved.encode(["red cup"]), encoder.encode(["red cup"]))
    assert not np.array_equal(stopped.encode(["red cup"]), encoder.encode(["red cup"]))


def test_fitting_leaves_the_process_generator_alone(encoder: TextEncoder, pairs: TextPairs) -> None:
    import torch

    before = torch.random.get_rng_state()
    fine_tune(encoder, pairs, settings(mode="lora", max_steps=2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_too_few_pairs(encoder: TextEncoder) -> None:
    none = np.zeros((0, 2), np.int64)
    with pytest.raises(DataError, match=r"set text.mode = 'frozen'"):
        fine_tune(encoder, TextPairs(("red cup",), none, none), settings())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("mode", "half"),
        ("precision", "float16"),
        ("max_steps", 0),
        ("learning_rate", 0.0),
        ("layer_decay", 1.5),
        ("batch_tokens", 7),
    ],
)
def test_options_out_of_range_name_themselves(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"text.{option} is"):
        settings(**{option: value})
