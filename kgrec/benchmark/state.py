"""What a benchmark is made of while it runs: its options, cuts of the data, rows and their ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Any

from kgrec.benchmark.files import Found
from kgrec.benchmark.plan import Row
from kgrec.benchmark.rows import LISTS
from kgrec.benchmark.scoring import Scored
from kgrec.benchmark.sealed import Sealed
from kgrec.benchmark.suite import Suite
from kgrec.shop import Shop
from kgrec.split import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a suite is run; what is None is as the suite says."""

    data: Path
    out: Path
    rows: tuple[str, ...] | None = None
    trials: int | None = None
    seeds: tuple[int, ...] | None = None
    overrides: tuple[str, ...] = ()
    """Of our model's configuration: `ranker.ridge=20`."""
    seconds: float | None = None
    memory_gib: float | None = None
    jobs: int = 1
    """Rows fitted side by side, each with its share of the cores."""
    catalogue: str = "kgrec.benchmark.catalogue"
    command: str = ""
    """As it was typed, for the record."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One cut of the data: the whole of it, or a fold."""

    parts: Parts
    """Without the test part."""
    sealed: Sealed
    folder: Path
    """What rows may see."""
    fold: int | None
    n_left_out: int
    """Rows that came after the cut and are in no part."""
    pairs: Path | None = None
    """Labelled pairs that rows may see, where the suite is about those."""
    n_validation: int | None = None
    """How many of them validate."""


@dataclass(frozen=True, slots=True)
class Run:
    """One row under one seed, as it ended."""

    row: Row
    seed: int
    fold: int | None
    record: dict[str, Any]
    scored: Scored | None
    file: str = LISTS
    """What it wrote."""


@dataclass(slots=True)
class Benchmark:
    """What a run is made of, filled as it goes."""

    suite: Suite
    options: Options
    found: Found
    shop: Shop
    scenes: list[Scene] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stop: Event = field(default_factory=Event)
    """Set when the run is interrupted; ends the rows that other threads wait for."""
    scoring: Lock = field(default_factory=Lock)
    """Held while lists are scored, which counts openings in one file."""
