"""The small search: moves one weight or exponent of the ranker at a time, on validation only."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kgrec.counts import others
from kgrec.progress import say, track
from kgrec.ranker import cross_weight, own_weight
from kgrec.ranker_config import RankerConfig
from kgrec.validation import Validation

LADDERS: dict[str, tuple[float, ...]] = {
    "own_weight": (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0),
    "behaviour_decay": (1.0, 0.97, 0.9, 0.8, 0.7, 0.5),
    "decay": (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4),
    "sequence_weight": (0.0, 0.3, 1.0, 3.0, 10.0),
    "attribute_weight": (0.0, 0.3, 1.0, 3.0, 6.0, 12.0, 24.0),
    "relation_weight": (0.0, 1.0, 3.0, 10.0, 30.0),
    "text_weight": (0.0, 0.3, 1.0, 3.0, 6.0, 12.0, 24.0),
    "ridge": (3.0, 10.0, 30.0, 60.0, 120.0, 240.0, 480.0),
    "last_weight": (0.0, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5),
    "cross_weight": (0.0, 0.1, 0.3, 1.0, 3.0),
    "dense_weight": (0.0, 0.01, 0.02, 0.03, 0.045, 0.07, 0.1, 0.2),
    "dense_decay": (1.0, 0.9, 0.8, 0.7, 0.6),
    "cold_bias": (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0),
    "cold_scale": (0.25, 0.5, 1.0, 1.5, 2.2, 3.3, 5.0),
    "degree_power": (0.0, 0.25, 0.5),
    "last_shrink": (3.0, 10.0, 30.0),
    "output_power": (0.0, 0.125, 0.25),
    "own_power": (0.0, 0.25, 0.5, 0.75, 1.0),
}
"""Values that the search may choose, by the field of `RankerConfig` they belong to, in the order
in which they are tried: trials may end before the last ones, which gain least."""
_OF_THE_NETWORK = ("dense_decay", "cold_bias")
"""Fields that matter to the dense half alone."""
BY_BEHAVIOUR = ("cross_weight", "own_weight")
"""Fields that hold a value for each other behaviour."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration tried."""

    field: str
    value: float
    score: float
    """On validation, by what the search maximises."""
    seconds: float
    kept: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: getattr(self, name) for name in self.__slots__}


def search(
    validation: Validation, config: RankerConfig, spent: int = 0
) -> tuple[RankerConfig, list[Trial]]:
    """Climbs one ladder after another until nothing moves or the trials are spent.

    Where few users validate, the last third of the trials climbs without the dense half, which is
    then kept only if it gains more than the standard error of its gain.

    Args:
        validation: What configurations are scored on.
        config: Where to start.
        spent: Trials of `config.trials` that were spent before.

    Returns:
        The best configuration seen and every trial in order.
    """
    left = max(config.trials - spent, 1)
    doubted = validation.doubts(config)
    climber = _Climber(validation, left - left // 3 if doubted else left)
    best = climber.climb(first(validation, config), config)
    if doubted and best.dense_weight:
        climber.limit = left
        alone = climber.climb(replace(first(validation, config), dense_weight=0.0), config)
        gain, error = validation.gain(best, alone)
        if gain <= error:
            say(
                f"search: the dense half gains {gain:.4f} with a standard error of {error:.4f} on "
                f"{len(validation.users)} users: switched off"
            )
            best = alone
    return replace(best, n_neighbours=config.n_neighbours), climber.trials


class _Climber:
    """Tries configurations, each once, until `limit` are tried."""

    def __init__(self, validation: Validation, limit: int) -> None:
        self.validation, self.limit = validation, limit
        self.trials: list[Trial] = []
        self.tried: dict[RankerConfig, float] = {}

    def climb(self, start: RankerConfig, config: RankerConfig) -> RankerConfig:
        """The best configuration on the way from `start`."""
        self.best = start
        self.attempt(start, "ridge" if config.sparse else "dense_decay")
        fields = [
            field
            for field in searched_fields(self.validation)
            if (config.sparse or field in _OF_THE_NETWORK)
            and (start.dense_weight or field not in ("dense_weight", *_OF_THE_NETWORK))
        ]
        for _ in range(3):
            before = self.best
            for field in track(fields, "search on validation"):
                self._move(field)
            for field in fields:
                if field.partition(".")[0].endswith("_weight"):
                    self.attempt(with_field(self.best, field, 0.0), field)
            if self.best == before:
                break
        return self.best

    def attempt(self, candidate: RankerConfig, field: str) -> bool:
        """Scores a configuration; whether it is the best so far."""
        if candidate in self.tried or len(self.trials) >= self.limit:
            return False
        began = time.perf_counter()
        value = self.validation.score(candidate)
        kept = value > self.tried.get(self.best, -1.0) * (1 + 1e-4)
        self.tried[candidate] = value
        seconds = round(time.perf_counter() - began, 2)
        self.trials.append(Trial(field, value_of(candidate, field), value, seconds, kept))
        self.best = candidate if kept else self.best
        return kept

    def _move(self, field: str) -> None:
        """Goes along one ladder as far as it gains, up or else down."""
        ladder = LADDERS[field.partition(".")[0]]
        at = int(np.argmin([abs(step - value_of(self.best, field)) for step in ladder]))
        for direction in (1, -1):
            moved, step = False, at + direction
            while 0 <= step < len(ladder) and self.attempt(
                with_field(self.best, field, ladder[step]), field
            ):
                moved, step = True, step + direction
            if moved:
                break


def first(validation: Validation, config: RankerConfig) -> RankerConfig:
    """Where the search starts: fewer neighbours, and a weight for each other behaviour."""
    history = validation.evidence.history
    changes: dict[str, Any] = {
        "cross_weight": tuple(cross_weight(name, history, config) for name in others(history)),
        "own_weight": tuple(own_weight(name, history, config) for name in others(history)),
    }
    return replace(
        config, n_neighbours=min(config.n_neighbours, config.search_neighbours), **changes
    )


def value_of(config: RankerConfig, field: str) -> float:
    """The value of a field of `LADDERS`; `own_weight.1` is that of the second other behaviour."""
    name, _, place = field.partition(".")
    value = getattr(config, name)
    return float(value[int(place)] if place else value)


def with_field(config: RankerConfig, field: str, value: float) -> RankerConfig:
    """The configuration with one such field changed."""
    name, _, place = field.partition(".")
    changed: Any = value
    if place:
        changed = tuple(
            value if at == int(place) else old for at, old in enumerate(getattr(config, name))
        )
    return replace(config, **{name: changed})


def searched_fields(validation: Validation) -> list[str]:
    """What is worth moving on this data; a weight by behaviour is one field for each."""
    n_others = len(others(validation.evidence.history))
    fields: list[str] = []
    for field in LADDERS:
        if field in BY_BEHAVIOUR:
            fields += [f"{field}.{place}" for place in range(n_others)]
        elif _matters(field, validation):
            fields.append(field)
    return fields


def _matters(field: str, validation: Validation) -> bool:
    evidence = validation.evidence
    has = {
        "attribute_weight": evidence.attributes is not None,
        "relation_weight": evidence.relations is not None,
        "text_weight": evidence.text is not None,
        "last_weight": evidence.follows.nnz > 0,
        "last_shrink": evidence.follows.nnz > 0,
        "decay": evidence.history.ordered,
        "behaviour_decay": evidence.history.ordered and len(others(evidence.history)) > 0,
        "sequence_weight": evidence.history.ordered,
        "cold_scale": validation.has_cold,
        "cold_bias": validation.has_cold and validation.dense.item_out.shape[1] > 1,
        "own_power": len(others(evidence.history)) > 0,
        "dense_decay": evidence.history.ordered and validation.dense.item_out.shape[1] > 1,
        "dense_weight": validation.dense.item_out.shape[1] > 1,
    }
    return bool(has.get(field, True))
