"""Linear models of items by items in closed form: exact EASE, and a ridge over neighbours."""

from __future__ import annotations

import resource
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from kgrec.baselines import users_of_item
from kgrec.benchmark.model import Choice, Material, Range, Space
from kgrec.benchmark.recipe import Floats, LinearScorer, Options, Recipe, popularity_of, powers
from kgrec.errors import KgrecError
from kgrec.evidence import MOST_PAIRS, attribute_rows, cut, relation_rows
from kgrec.history import history_matrix
from kgrec.interactions import Interactions
from kgrec.ridge import sparse_ridge

DENSE_BYTES = 1.75 * 4
"""Bytes for each of n_items^2 that EASE asks to be free before it starts; it takes some 1.3 * 4."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Item weights before what acts at scoring alone."""

    weights: sp.csr_array | Floats
    """B, (n_items, n_items), zero diagonal."""
    users: Floats
    """Users of each item, (n_items,)."""
    popularity: Floats


def pairs(history: Interactions, decay: float) -> sp.csr_array:
    """X^T X of the users' rows, (n_items, n_items) float32.

    Args:
        history: Interactions of any behaviour, by its weight.
        decay: Weight of a row of X falls by this factor a step back, in (0, 1].
    """
    longest = cut(np.diff(history.start), MOST_PAIRS)
    rows = history_matrix(history, decay=decay, max_items=longest)
    return (rows.T @ rows).tocsr()


def graph_pairs(material: Material, options: Options) -> sp.csr_array | None:
    """E E^T of the graph's rows by their weights, (n_items, n_items); None when all weigh 0."""
    total = None
    for option, rows_of in (
        ("attribute_weight", attribute_rows),
        ("relation_weight", relation_rows),
    ):
        rows = rows_of(material.graph) if options.get(option) else None
        if rows is not None:
            own = np.float32(options[option]) * (rows @ rows.T)
            total = own if total is None else total + own
    return total


def ease_weights(gram: sp.csr_array, penalty: Floats) -> Floats:
    """B = I - P diag(P)^-1 with P = (gram + diag(penalty))^-1, (n, n) float32, zero diagonal.

    One dense matrix is factorised, inverted and scaled where it stands.

    Args:
        gram: (n, n) symmetric positive semi-definite.
        penalty: (n,), > 0.

    Raises:
        KgrecError: The memory is not there, or the matrix is too ill-conditioned for 32 bits.

    Source: Steck 2019, eq. 8.
    """
    from scipy.linalg.lapack import spotrf, spotri

    n = gram.shape[0]
    _check_memory(n)
    dense = sp.csr_array(gram, dtype=np.float32).toarray(order="F")
    at = np.arange(n)
    dense[at, at] += penalty
    dense, failed = spotrf(dense, lower=1, clean=0, overwrite_a=1)
    if not failed:
        dense, failed = spotri(dense, lower=1, overwrite_c=1)
    if failed:
        raise KgrecError(f"EASE: the matrix of {n} items cannot be inverted; raise its ridge")
    weights: Floats = dense.T  # symmetric, and rows of it lie together
    for begin in range(0, n, 1024):
        rows = slice(begin, begin + 1024)
        corner = np.triu(weights[rows, rows])
        weights[rows, rows] = corner + np.triu(corner, 1).T
        weights[begin + 1024 :, rows] = weights[rows, begin + 1024 :].T
    weights *= -1 / weights[at, at]
    weights[at, at] = 0
    return weights


def _check_memory(n_items: int) -> None:
    needed, free = DENSE_BYTES * n_items**2, available_bytes()
    if needed > free:
        raise KgrecError(
            f"EASE over {n_items} items needs {needed / 2**30:.1f} GiB of memory and "
            f"{free / 2**30:.1f} are free; the sparse ridge does without the dense inverse"
        )


def available_bytes() -> float:
    """Memory that this process may still take; infinite where the system does not tell."""
    free = [float("inf")]
    info, used = Path("/proc/meminfo"), Path("/proc/self/statm")
    if info.exists():
        fields = dict(line.split(":") for line in info.read_text().splitlines())
        free.append(int(fields["MemAvailable"].split()[0]) * 1024)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and used.exists():
        free.append(limit - int(used.read_text().split()[0]) * resource.getpagesize())
    group = Path("/sys/fs/cgroup/memory.max")
    if group.exists() and group.read_text().strip() != "max":
        taken = int((group.parent / "memory.current").read_text())
        free.append(int(group.read_text()) - taken)
    return min(free)


def _linear(weights: sp.csr_array | Floats, history: Interactions) -> Linear:
    users = users_of_item(history).astype(np.float32)
    return Linear(weights, users, popularity_of(history))


def _penalty(history: Interactions, options: Options) -> Floats:
    return np.float32(options["ridge"]) / powers(users_of_item(history), options["degree_power"])


def _ease(history: Interactions, material: Material, options: Options) -> Linear:
    _check_memory(history.n_items)
    gram, more = pairs(history, options["pair_decay"]), graph_pairs(material, options)
    gram = gram if more is None else (gram + more).tocsr()
    return _linear(ease_weights(gram, _penalty(history, options)), history)


def _sparse_ridge(history: Interactions, _: Material, options: Options) -> Linear:
    gram, penalty = pairs(history, options["pair_decay"]), _penalty(history, options)
    return _linear(sparse_ridge(gram, gram, penalty, options["neighbours"]), history)


def _finish(linear: Linear, options: Options) -> LinearScorer:
    return LinearScorer(
        weights=linear.weights,
        popularity=linear.popularity,
        decay=options["decay"],
        given=powers(linear.users, options["input_power"]),
        offered=powers(linear.users, options["output_power"]),
    )


def _no_graph_rows(_: Interactions, material: Material) -> str | None:
    if attribute_rows(material.graph) is None and relation_rows(material.graph) is None:
        return "the graph joins no items to anything"
    return None


def _unused(history: Interactions, material: Material) -> Collection[str]:
    found = [] if history.ordered else ["decay", "pair_decay"]
    if attribute_rows(material.graph) is None:
        found.append("attribute_weight")
    if relation_rows(material.graph) is None:
        found.append("relation_weight")
    return found


_OPTIONS: Space = {
    "ridge": Range(3.0, 3000.0, log=True),
    "degree_power": Range(0.0, 1.0),
    "input_power": Range(0.0, 0.5),
    "output_power": Range(0.0, 0.5),
    "decay": Range(0.2, 1.0),
    "pair_decay": Range(0.5, 1.0),
}
# Where large shops leave time for a few trials alone, the first one counts: ours begins here too.
_DEFAULTS: Options = {
    "ridge": 30.0, "degree_power": 0.25, "input_power": 0.0, "output_power": 0.125,
    "decay": 0.8, "pair_decay": 1.0,
}  # fmt: skip
_CHEAP = frozenset({"input_power", "output_power", "decay"})
_WEIGHTS = Choice((0.0, 0.3, 0.7, 1.5, 3.0, 6.0, 12.0, 30.0))

SPARSE_RIDGE = Recipe(
    name="sparse ridge",
    source="Ning & Karypis 2011 (SLIM), a ridge over each item's neighbours in closed form",
    options={**_OPTIONS, "neighbours": Choice((25, 50, 100, 200))},
    defaults={**_DEFAULTS, "neighbours": 100},
    cheap=_CHEAP,
    prepare=_sparse_ridge,
    finish=_finish,
)
EASE = Recipe(
    name="EASE",
    source="Steck 2019",
    options=_OPTIONS,
    defaults=_DEFAULTS,
    cheap=_CHEAP,
    prepare=_ease,
    finish=_finish,
)
EASE_GRAPH = Recipe(
    name="EASE + graph rows",
    source="Steck 2019, with rows of the graph below those of the users",
    options={**_OPTIONS, "attribute_weight": _WEIGHTS, "relation_weight": _WEIGHTS},
    defaults={**_DEFAULTS, "attribute_weight": 3.0, "relation_weight": 3.0},
    cheap=_CHEAP,
    prepare=_ease,
    finish=_finish,
    unused=_unused,
    reason=_no_graph_rows,
)
