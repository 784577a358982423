"""Weighted matrix factorisation by alternating least squares, through `implicit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from kgrec.benchmark.model import Choice, Material, Range, Scores
from kgrec.benchmark.recipe import ALL, Floats, Options, Recipe, break_ties, popularity_of
from kgrec.errors import MissingExtraError
from kgrec.history import history_matrix
from kgrec.interactions import Interactions


@dataclass(frozen=True, slots=True)
class FactorScorer:
    """Item factors; a user's are solved from their history, as in a step of the fit.

    Confidence is 1 + alpha w, w the behaviour's weight times `decay` to the number of steps back.
    """

    model: Any
    """`implicit.cpu.als.AlternatingLeastSquares`."""
    alpha: float
    popularity: Floats
    decay: float

    def scores(self, history: Interactions) -> Scores:
        """As `kgrec.benchmark.model.Scorer` has it."""
        rows = _confidence(history, self.alpha, self.decay)
        users = self.model.recalculate_user(np.arange(history.n_users), rows)
        users[np.diff(rows.indptr) == 0] = 0
        return break_ties(np.asarray(users @ self.model.item_factors.T), self.popularity)


@dataclass(frozen=True, slots=True)
class _Factors:
    model: Any
    popularity: Floats


def _confidence(history: Interactions, alpha: float, decay: float) -> sp.csr_matrix:
    rows = history_matrix(history, decay=decay, max_items=ALL)
    data = (1 + alpha * rows.data).astype(np.float32)
    return sp.csr_matrix((data, rows.indices, rows.indptr.astype(np.int32)), shape=rows.shape)


def _factorise(history: Interactions, material: Material, options: Options) -> _Factors:
    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingExtraError("implicit", "benchmark", "the baseline iALS") from error
    with threadpool_limits(1, "blas"):  # its own threads and those of BLAS hold each other up
        model = AlternatingLeastSquares(
            factors=options["factors"],
            regularization=options["regularization"],
            iterations=options["iterations"],
            random_state=material.seed,
        )
        model.fit(_confidence(history, options["alpha"], 1.0), show_progress=False)
    return _Factors(model, popularity_of(history))


IALS = Recipe(
    name="iALS",
    source="Hu, Koren & Volinsky 2008; computed by implicit",
    random=True,
    options={
        "factors": Choice((32, 64, 128, 256)),
        "regularization": Range(0.01, 100.0, log=True),
        "alpha": Range(1.0, 100.0, log=True),
        "iterations": Choice((5, 10, 15, 20, 30)),
        "decay": Range(0.2, 1.0),
    },
    defaults={
        "factors": 128,
        "regularization": 10.0,
        "alpha": 10.0,
        "iterations": 15,
        "decay": 0.8,
    },
    cheap=frozenset({"decay"}),
    prepare=_factorise,
    finish=lambda factors, options: FactorScorer(
        factors.model, options["alpha"], factors.popularity, options["decay"]
    ),
)
