"""A ridge from every behaviour to the one to predict, and own items: the simple model to beat."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kgrec.baselines import users_of_item
from kgrec.benchmark.linear import SPARSE_RIDGE
from kgrec.benchmark.model import Material, Range, Scores
from kgrec.benchmark.recipe import Floats, Options, Recipe, break_ties, popularity_of, powers
from kgrec.benchmark.rules import OWN_FIRST, conversion
from kgrec.errors import KgrecError
from kgrec.evidence import MOST_PAIRS, cut
from kgrec.history import history_matrix, scale_columns
from kgrec.interactions import Interactions
from kgrec.ridge import sparse_ridge


@dataclass(frozen=True, slots=True)
class Blocks:
    """What was solved, before what acts at scoring alone."""

    to_target: dict[int, sp.csr_array]
    """For each behaviour that weighs anything, its ridge to the one to predict."""
    conversion: Floats
    users: Floats
    popularity: Floats


@dataclass(frozen=True, slots=True)
class BehaviourScorer:
    """score(u, i) = o_i sum over behaviours b of c_b (x_ub S_b)_i + w_b r_i [u met i by b].

    x_ub are a user's items by behaviour b, S_b the ridge from b to the behaviour to predict, r the
    rate of conversion; c is 1 and w 0 for the behaviour to predict.
    """

    blocks: Blocks
    options: Options

    def scores(self, history: Interactions) -> Scores:
        """As `kgrec.benchmark.model.Scorer` has it."""
        options, blocks = self.options, self.blocks
        shape = (history.n_users, history.n_items)
        total, own = (sp.csr_array(shape, dtype=np.float32) for _ in range(2))
        for behaviour, ridge in blocks.to_target.items():
            rows = _rows(history, behaviour, options["decay"])
            if behaviour == history.target:
                total = total + rows @ ridge
                continue
            weight = _weight(history, behaviour) ** options["heavier"]
            total = total + np.float32(options["cross"] * weight) * (rows @ ridge)
            own = own + np.float32(options["own"] * weight) * rows
        rate = (blocks.conversion / blocks.conversion.mean()) ** np.float32(options["own_power"])
        scores: Scores = total.toarray() * powers(blocks.users, options["output_power"])
        scores += scale_columns(sp.csr_array(own), rate).toarray()
        return break_ties(scores, blocks.popularity)


def _weight(history: Interactions, behaviour: int) -> float:
    """The behaviour's weight by the schema, in 0..1."""
    at = np.flatnonzero(history.behaviour == behaviour)
    return float(history.weight[at].max(initial=0))


def _rows(history: Interactions, behaviour: int, decay: float) -> sp.csr_array:
    longest = cut(np.diff(history.start), MOST_PAIRS)
    rows = history_matrix(
        history, decay=decay, max_items=longest, mask=history.behaviour == behaviour
    )
    weight = _weight(history, behaviour)
    return sp.csr_array(rows * np.float32(1 / weight)) if weight else rows


def _solve(history: Interactions, material: Material, options: Options) -> Blocks:
    if (reason := OWN_FIRST.reason(history, material)) is not None or history.target is None:
        raise KgrecError(f"behaviour ridges cannot be fitted: {reason}; leave them out")
    wanted = _rows(history, history.target, options["pair_decay"])
    to_target = {}
    for behaviour in np.unique(history.behaviour[history.weight > 0]).tolist():
        rows = _rows(history, behaviour, options["pair_decay"])
        gram = (rows.T @ rows).tocsr()
        cross = gram if behaviour == history.target else (wanted.T @ rows).tocsr()
        penalty = np.float32(options["ridge"]) / powers(gram.diagonal(), options["degree_power"])
        to_target[behaviour] = sparse_ridge(gram, cross, penalty, options["neighbours"])
    return Blocks(
        to_target,
        conversion(history),
        users_of_item(history).astype(np.float32),
        popularity_of(history),
    )


def _unused(history: Interactions, _: Material) -> Collection[str]:
    return [] if history.ordered else ["decay", "pair_decay"]


BEHAVIOURS = Recipe(
    name="behaviour ridges",
    source="Ning & Karypis 2011, a ridge from each behaviour to the one to predict, and own items "
    "by their rate of conversion",
    options={
        "ridge": Range(3.0, 3000.0, log=True),
        "degree_power": Range(0.0, 1.0),
        "pair_decay": Range(0.5, 1.0),
        "neighbours": SPARSE_RIDGE.options["neighbours"],
        "cross": Range(0.01, 3.0, log=True),
        "own": Range(0.01, 10.0, log=True),
        "own_power": Range(0.0, 1.0),
        "heavier": Range(0.0, 2.0),
        "output_power": Range(0.0, 0.5),
        "decay": Range(0.2, 1.0),
    },
    defaults={
        "ridge": 30.0, "degree_power": 0.0, "pair_decay": 1.0, "neighbours": 100, "cross": 0.2,
        "own": 0.5, "own_power": 0.75, "heavier": 0.3, "output_power": 0.125, "decay": 1.0,
    },
    cheap=frozenset({"cross", "own", "own_power", "heavier", "output_power", "decay"}),
    prepare=_solve,
    finish=BehaviourScorer,
    unused=_unused,
    reason=OWN_FIRST.reason,
)  # fmt: skip
