"""A baseline in two steps: what costs, and what its options change without doing that again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.baselines import users_of_item
from kgrec.benchmark.model import Choice, Material, Range, Scorer, Scores, Space
from kgrec.errors import ConfigError, nearest
from kgrec.history import history_matrix, scale_columns
from kgrec.interactions import Interactions

Floats = npt.NDArray[np.float32]
Options = Mapping[str, Any]

ALL = int(np.iinfo(np.int64).max)
"""As `max_items` of a history: every one of them."""
_TIE = 1e-6  # of a user's largest score: what popularity may add, so that it only breaks ties


def _orderless(history: Interactions, _: Material) -> Collection[str]:
    return () if history.ordered else ("decay", "pair_decay")


def _always(_: Interactions, __: Material) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A kind of model with its options, as `kgrec.benchmark.model.Baseline` has it."""

    name: str
    """As the table has it."""
    source: str
    """Paper, and the library that computes it if it is not ours."""
    prepare: Callable[[Interactions, Material, Options], Any]
    """The costly step, of every option that is not `cheap`."""
    finish: Callable[[Any, Options], Scorer]
    """The model from what was prepared and all options; leaves what was prepared as it is."""
    random: bool = False
    """Whether another seed gives other lists."""
    options: Space = field(default_factory=dict)
    """Every option with the values it may take, on any data."""
    defaults: Options = field(default_factory=dict)
    """Value of each option that is not given."""
    cheap: frozenset[str] = frozenset()
    """Options that `finish` alone reads."""
    unused: Callable[[Interactions, Material], Collection[str]] = _orderless
    """Options that change nothing on this data."""
    reason: Callable[[Interactions, Material], str | None] = _always
    """Why this data has nothing for it; None when it has."""

    def space(self, history: Interactions, material: Material) -> Space:
        """What may be tuned on this data; empty where nothing is."""
        unused = self.unused(history, material)
        return {name: kind for name, kind in self.options.items() if name not in unused}

    def settle(self, options: Options) -> dict[str, Any]:
        """The options given, and the defaults of the others.

        Raises:
            ConfigError: An option is unknown or out of range.
        """
        for name, value in options.items():
            if name not in self.options:
                raise ConfigError(
                    f"{self.name} has no option '{name}'{nearest(name, self.options)}"
                )
            allowed = _allows(self.options[name], value)
            if allowed is not None:
                raise ConfigError(f"{self.name}: {name} is {value!r}; it must be {allowed}")
        return {**self.defaults, **options}

    def fit(self, history: Interactions, material: Material, options: Options) -> Scorer:
        """Fits one configuration; options that are not given keep their defaults.

        Raises:
            ConfigError: An option is unknown or out of range.
            KgrecError: The data has nothing for this model.
        """
        settled = self.settle(options)
        return self.finish(self.prepare(history, material, settled), settled)


def _allows(kind: Choice | Range, value: Any) -> str | None:
    """What the value should have been; None when it may be."""
    if isinstance(kind, Choice):
        return None if value in kind.values else f"one of {', '.join(map(str, kind.values))}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and kind.low <= value <= kind.high and (not kind.whole or value == int(value)):
        return None
    return f"a {'whole ' if kind.whole else ''}number from {kind.low:g} to {kind.high:g}"


def popularity_of(history: Interactions) -> Floats:
    """Users of each item by the behaviour to predict, the largest number made 1, (n_items,)."""
    users = users_of_item(history).astype(np.float32)
    return users / max(float(users.max(initial=0)), 1.0)


def break_ties(scores: Scores, popularity: Floats) -> Scores:
    """Adds popularity, too small to pass anything but a tie, to each row in place.

    A row of zeros, which is what a user without history has, becomes popularity alone.

    Args:
        scores: (n_users, n_items), changed.
        popularity: In 0..1, (n_items,).
    """
    size = np.maximum(scores.max(axis=1, initial=0), -scores.min(axis=1, initial=0))
    size[size == 0] = 1.0
    scores += np.multiply.outer((size * _TIE).astype(np.float32), popularity)
    return scores


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearScorer:
    """score(u, i) = o_i sum over items j of u's history of w_uj a_j B_ji; popularity breaks ties.

    w_uj is the behaviour's weight times `decay` to the number of steps back.
    """

    weights: sp.csr_array | Floats
    """B, (n_items, n_items)."""
    popularity: Floats
    """In 0..1, (n_items,)."""
    decay: float = 1.0
    max_items: int = ALL
    """Newest interactions of a user that count."""
    given: Floats | None = None
    """a, (n_items,); ones when None."""
    offered: Floats | None = None
    """o, (n_items,); ones when None."""

    def scores(self, history: Interactions) -> Scores:
        """As `kgrec.benchmark.model.Scorer` has it."""
        rows = history_matrix(history, decay=self.decay, max_items=self.max_items)
        if self.given is not None:
            rows = scale_columns(rows, self.given)
        product = rows @ self.weights
        scores: Scores = product.toarray() if sp.issparse(product) else product
        if self.offered is not None:
            scores *= self.offered
        return break_ties(scores, self.popularity)


def powers(users: npt.ArrayLike, power: float) -> Floats:
    """Number of users (1 at least) to the power -power, (n_items,)."""
    return np.asarray(np.maximum(np.asarray(users, np.float32), 1) ** np.float32(-power))
