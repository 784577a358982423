"""Which options would make a command fit: tried in the estimator, mildest first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from kgrec.config import Config
from kgrec.errors import TooLargeError
from kgrec.machine import available_memory, free_disk
from kgrec.needs import Estimate, in_words
from kgrec.progress import say

T = TypeVar("T")
FIT_LADDERS: tuple[tuple[str, ...], ...] = (
    ("network.members=1",),
    ("index.kind=ivfpq",),
    ("ranker.most_pairs=100000000", "ranker.most_pairs=50000000", "ranker.most_pairs=20000000"),
    ("ranker.n_neighbours=50", "ranker.n_neighbours=25"),
    ("network.size=128", "network.size=64", "network.size=32"),
    ("ranker.sample_rows=1000000", "ranker.sample_rows=250000", "ranker.search=false"),
    ("ranker.max_history=100", "ranker.max_history=30"),
)
"""Options that take less memory, each from mild to harsh; a plan takes a step of some of them."""
_LAST = ("network.enabled=false", "ranker.sparse=false")
"""What switches a half of the model off, tried when nothing else fits."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a command may take."""

    memory: int | None
    """Bytes; None where nobody knows."""
    disk: int | None

    @staticmethod
    def here(out: Path | None, budget: int | None = None) -> Room:
        """What this machine has; a budget is believed in the place of its memory.

        Args:
            out: What will be written.
            budget: Bytes that may be resident; None for what the machine has.
        """
        memory = available_memory() if budget is None else budget
        return Room(memory, None if out is None else free_disk(out))

    def fits(self, estimate: Estimate) -> bool:
        """Whether there is enough of both."""
        return (self.memory is None or estimate.memory_bytes <= self.memory) and (
            self.disk is None or estimate.disk_bytes <= self.disk
        )

    def to_text(self) -> str:
        """For a person."""
        memory = "" if self.memory is None else f"{in_words(self.memory)} of memory"
        disk = "" if self.disk is None else f"{in_words(self.disk)} of disk"
        return " and ".join(part for part in (memory, disk) if part)


def plans(ladders: Sequence[Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Every combination of at most one step of each ladder, those of fewest steps first.

    A step counts by its place in its ladder; of plans that count the same, those of low steps come
    first, then those that begin with the first ladders.
    """
    choices = [range(len(ladder) + 1) for ladder in ladders]
    ordered = sorted(
        itertools.product(*choices), key=lambda p: (sum(p), max(p, default=0), [-s for s in p])
    )
    for plan in ordered:
        yield tuple(ladder[step - 1] for ladder, step in zip(ladders, plan, strict=True) if step)


def fit_options(config: Config) -> Iterator[tuple[str, Config]]:
    """Configurations that ask for less than `config`, mildest first, and how each is asked for.

    When no plan of the ladders is left, the harshest of them is joined by the loss of one half of
    the model, or of the other.
    """
    ladders = [[step for step in ladder if _asks_less(config, step)] for ladder in FIT_LADDERS]
    harshest = tuple(ladder[-1] for ladder in ladders if ladder)
    last = tuple((*harshest, step) for step in _LAST if _asks_less(config, step))
    steps = {step for plan in (*ladders, *last) for step in plan}
    values = {step: _value(config, step) for step in steps}
    for plan in (*plans(ladders), *last):
        if not plan:
            continue
        changes: dict[str, dict[str, Any]] = {}
        for step in plan:
            stage, _, name = step.partition("=")[0].partition(".")
            changes.setdefault(stage, {})[name] = values[step]
        stages = {stage: replace(getattr(config, stage), **new) for stage, new in changes.items()}
        yield " ".join(f"--set {step}" for step in plan), replace(config, **stages)


def _value(config: Config, step: str) -> Any:
    """What an assignment gives its field."""
    stage, _, name = step.partition("=")[0].partition(".")
    return getattr(getattr(config.apply_overrides([step]), stage), name)


def _asks_less(config: Config, step: str) -> bool:
    """Whether an option is not that low already."""
    path, _, value = step.partition("=")
    stage, name = path.split(".")
    before = getattr(getattr(config, stage), name)
    if isinstance(before, bool):
        return before
    if isinstance(before, str):
        return before != value
    return int(value) < int(before)


def refuse(what: str, room: Room, needed: Estimate) -> None:
    """Says what a command needs that has nothing to choose, and refuses where it cannot be had.

    Raises:
        TooLargeError: There is not enough memory or disk.
    """
    choose(what, room, needed, list[str](), lambda _: needed, str, may_choose=False)


def choose(
    what: str,
    room: Room,
    asked: Estimate,
    options: Iterable[T],
    try_: Callable[[T], Estimate],
    name: Callable[[T], str],
    *,
    may_choose: bool,
) -> T | None:
    """Says what a command needs; where that cannot be had, refuses, or chooses an option.

    Args:
        what: The command.
        room: What there is.
        asked: What the command as it was given needs.
        options: What could be changed, mildest first.
        try_: What the command would need with one of them.
        name: An option as a person writes it.
        may_choose: Whether the command goes on with the first option that fits.

    Returns:
        The option to go on with; None for the command as it was given.

    Raises:
        TooLargeError: There is not enough memory or disk; the message names options that fit,
            each with what it needs.
    """
    there = room.to_text()
    say(f"{what}: needs about {asked.to_text()}; {there or 'what there is, is not known'} to have")
    if room.fits(asked):
        return None
    fitting, least = list[tuple[T, Estimate]](), asked
    for option in options:
        estimate = try_(option)
        least = min(least, estimate, key=lambda one: one.memory_bytes)
        if room.fits(estimate):
            if may_choose:
                say(f"{what}: chosen to fit: {name(option)}, {estimate.to_text()}")
                return option
            fitting.append((option, estimate))
            if len(fitting) == 3:
                break
    if fitting:
        lines = [f"  {name(option)} -> {estimate.to_text()}" for option, estimate in fitting]
        mend = "it would fit with one of\n" + "\n".join(lines)
    else:
        mend = f"no option that is known to help would fit; the least is {least.to_text()}"
    raise TooLargeError(f"{what} needs about {asked.to_text()}, there is {there}; {mend}")
