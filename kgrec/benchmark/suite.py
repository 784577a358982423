"""A benchmark as one declared file: data, protocol, rows, and the figures published for it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from kgrec import settings
from kgrec.errors import ConfigError, nearest
from kgrec.split import SplitConfig

ABLATIONS = ("no graph", "shuffled graph", "no text", "W_g alone", "S alone", "no recency")
"""Our model with one part off, as rows are called."""
COLD, WARM = " on cold items", " on warm items"
"""What the metrics of a suite in folds end in."""
_COMPRESSIONS = ("", ".gz", ".zst")
_METRICS = ("recall", "nDCG", "hit_rate", "MRR", "precision")
_LABELLED = ("AUC", "F1", "accuracy")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFile:
    """One file that a suite reads."""

    name: str
    """A pattern, tried plain, .gz and .zst."""
    or_else: tuple[str, ...] = ()
    """Other patterns that will do."""
    dataset: str | None = None
    """The name that `kgrec data fetch` knows it by."""
    category: str | None = None
    """Which category of that data set."""
    where: str = ""
    """Where a person gets it, when no data set names it or its own form differs."""
    optional: bool = False

    def find(self, folder: Path) -> Path | None:
        """The first file that will do; None where there is none."""
        for pattern in (self.name, *self.or_else):
            for end in _COMPRESSIONS:
                found = sorted(path for path in folder.glob(pattern + end) if path.is_file())
                if found:
                    return found[0]
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A figure that somebody else reported; it is shown and never rerun."""

    model: str
    metrics: Mapping[str, float]
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What is compared, on what, and by which rule; read one with `load_suite`."""

    name: str
    title: str
    about: str = ""
    folder: str
    """Sub-folder of --data; --data itself will do when it holds the files directly."""
    files: tuple[SuiteFile, ...] = ()
    single_file: bool = False
    """Whether the first of `files` is read alone, and not the folder."""
    schema: str
    protocol: str
    """One sentence: what is held out, what is ranked, what counts."""
    split: SplitConfig = field(default_factory=SplitConfig)
    without: tuple[str, ...] = ()
    """Relations that are left out of the graph."""
    task: Literal["ranking", "click"] = "ranking"
    """Whether lists are ranked, or labelled pairs told apart."""
    headline: tuple[str, ...] = ("recall@20", "nDCG@20")
    ks: tuple[int, ...] = (10, 20)
    tuned_for: str = "nDCG@10"
    """The validation metric that every tuned row is chosen by."""
    baselines: tuple[str, ...] = ()
    """Names from the catalogue; empty for every one that applies."""
    ablations: tuple[str, ...] = ABLATIONS
    trials: int = 60
    """Configurations that each tuned row may try."""
    seeds: tuple[int, ...] = (7, 8, 9)
    ablation_seeds: int = 1
    """How many of the seeds each ablation is fitted under; our model and the baselines have all."""
    seconds: float = 900.0
    """Wall-clock limit of one row and seed."""
    memory_gib: float = 12.0
    """Limit of what one row's processes hold in memory."""
    folds: int = 0
    """Disjoint folds of cold items, each in the place of a seed; 0 for none."""
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.ablations:
            _known(name, ABLATIONS, "ablations")
        names = _metric_names(self)
        for metric in self.headline:
            _known(metric, names, "headline")
        if self.task == "ranking" and not self.tuned_for.removeprefix("nDCG@").isdigit():
            raise ConfigError(f"tuned_for is '{self.tuned_for}'; it is nDCG@ and a depth")
        if not self.seeds or not self.ks or not self.headline or min(self.ks) < 1:
            raise ConfigError("seeds, ks and headline need one value at least, ks from 1")
        for name in ("trials", "seconds", "memory_gib"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.folds and not self.split.cold_item_share * self.folds <= 1 + 1e-9:
            raise ConfigError(
                f"{self.folds} folds of {self.split.cold_item_share} of the items are not disjoint"
            )

    @property
    def list_length(self) -> int:
        """Items that each saved list has."""
        return max(100, 2 * max(self.ks))

    def hash(self) -> str:
        """Tells apart suites of which some number may differ; titles and notes do not count."""
        said = ("title", "about", "protocol", "published", "notes")
        plain = {k: v for k, v in settings.to_plain(self).items() if k not in said}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def load_suite(name_or_path: str | Path) -> Suite:
    """A shipped suite by name, or one from a TOML file.

    Raises:
        ConfigError: No such suite, an unknown key (the message names its nearest neighbour), or
            a value that cannot be meant.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        names = suite_names()
        if str(name_or_path) not in names:
            raise ConfigError(
                f"unknown suite '{name_or_path}'{nearest(str(name_or_path), names)}"
                " (or give the path of a .toml file)"
            )
        path = suites_folder() / f"{name_or_path}.toml"
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no suite file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}") from None
    return build_suite({"name": path.stem} | table, path.name)


def build_suite(table: Mapping[str, Any], where: str) -> Suite:
    """A suite from plain values.

    Args:
        table: What the TOML file holds.
        where: What to call it in messages.

    Raises:
        ConfigError: As `load_suite`.
    """
    _required(Suite, table, where)
    for key, cls in (("files", SuiteFile), ("published", Published)):
        for row in table.get(key, ()):
            if isinstance(row, Mapping):
                _required(cls, row, f"{where} [[{key}]]")
    return settings.build(Suite, table, where)


def suite_names() -> list[str]:
    """The suites that ship."""
    return sorted(path.stem for path in suites_folder().glob("*.toml"))


def suites_folder() -> Path:
    """The folder of the suites that come with kgrec, installed or in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "suites"
    return installed if installed.is_dir() else package.parent / "benchmarks" / "suites"


def _required(cls: type[Any], table: Mapping[str, Any], where: str) -> None:
    missing = [
        f.name
        for f in fields(cls)
        if f.default is MISSING and f.default_factory is MISSING and f.name not in table
    ]
    unknown = [key for key in table if key not in {f.name for f in fields(cls)}]
    if missing and not unknown:  # an unknown key is the likelier slip, and `build` names it
        raise ConfigError(f"{where}: {', '.join(missing)} is missing")
    for key in unknown:
        raise ConfigError(
            f"{where}: unknown option '{key}'{nearest(key, [f.name for f in fields(cls)])}"
        )


def _metric_names(suite: Suite) -> list[str]:
    if suite.task == "click":
        return list(_LABELLED)
    ends = (COLD, WARM) if suite.folds else ("",)
    return [f"{metric}@{k}{end}" for metric in _METRICS for k in suite.ks for end in ends]


def _known(value: str, allowed: tuple[str, ...] | list[str], key: str) -> None:
    if value not in allowed:
        raise ConfigError(f"{key} cannot hold '{value}'{nearest(value, allowed)}")
