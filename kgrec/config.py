"""Every option of the chain: one frozen dataclass a stage, composed here, kept in TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kgrec import settings
from kgrec.errors import ConfigError
from kgrec.item_index import IndexConfig
from kgrec.loading import LoadConfig
from kgrec.network import NetworkConfig
from kgrec.ranker_config import RankerConfig
from kgrec.split import SplitConfig
from kgrec.text import TextConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the whole chain; a stage sees its own field and the seed, nothing else."""

    seed: int = 7
    """What every random choice is drawn from: same seed, same machine, same lists."""
    load: LoadConfig = field(default_factory=LoadConfig)
    """Reading tables: k-core, de-duplication."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """What is held out for validation and test."""
    text: TextConfig = field(default_factory=TextConfig)
    """The text encoder and its fine-tuning."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The graph network."""
    ranker: RankerConfig = field(default_factory=RankerConfig)
    """The two halves of the ranker, and the search that tunes them."""
    index: IndexConfig = field(default_factory=IndexConfig)
    """The FAISS index over item vectors."""

    @staticmethod
    def from_toml(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
        """Reads a TOML file of tables `[load]`, `[split]`, `[text]`, `[network]`, ...

        Args:
            path: The file; None for the defaults.
            overrides: Assignments that win over the file: `ranker.ridge=20`, `seed=3`.

        Raises:
            ConfigError: The file is absent or no TOML, a key is unknown (the message names its
                nearest neighbour), a value has the wrong type or is out of range.
        """
        table: dict[str, Any] = {}
        if path is not None:
            try:
                table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
            except OSError as error:
                raise ConfigError(f"cannot read the config {path}: {error.strerror}") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{path} is no valid TOML: {error}") from None
        return settings.build(Config, table, str(path)).apply_overrides(overrides)

    def apply_overrides(self, overrides: Sequence[str]) -> Config:
        """A copy with `stage.field=value` assignments applied.

        Raises:
            ConfigError: As `from_toml`.
        """
        return settings.override(self, overrides)

    def seeded(self) -> Config:
        """A copy whose stages draw from `seed`, but for those that were given one of their own."""
        changed: dict[str, Any] = {}
        for name in ("split", "text", "network"):
            stage = getattr(self, name)
            if stage.seed == type(stage)().seed:
                changed[name] = replace(stage, seed=self.seed)
        return replace(self, **changed)

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> Config:
        """What `to_dict` gave; fields that are not named get their defaults.

        Raises:
            ConfigError: As `from_toml`.
        """
        return settings.build(Config, table, "config")

    def to_dict(self) -> dict[str, Any]:
        """Every option as JSON has it."""
        plain: dict[str, Any] = settings.to_plain(self)
        return plain

    def to_toml(self) -> str:
        """Every option as TOML that `from_toml` reads back."""
        return settings.to_toml(self)
