"""Nearest neighbours of a user's items: by the users they share, and by their texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.baselines import ItemKNN, ItemKNNConfig
from kgrec.benchmark.model import Choice, Material, Range
from kgrec.benchmark.recipe import ALL, Floats, LinearScorer, Options, Recipe, popularity_of
from kgrec.errors import KgrecError, ShapeError
from kgrec.interactions import Interactions

MOST_NEIGHBOURS = 200
"""Text neighbours that are kept of an item, of which `neighbours` may take fewer."""


@dataclass(frozen=True, slots=True)
class _Near:
    similarity: sp.csr_array
    popularity: Floats


def _near(history: Interactions, _: Material, options: Options) -> _Near:
    config: dict[str, Any] = dict(options)
    return _Near(ItemKNN(history, ItemKNNConfig(**config)).similarity, popularity_of(history))


ITEM_KNN = Recipe(
    name="item-kNN",
    source="Sarwar et al. 2001; Deshpande & Karypis 2004; shrinkage after Bell & Koren 2007",
    options={
        "neighbours": Choice((20, 50, 100, 200, 500, 1000)),
        "shrinkage": Range(0.0, 50.0),
        "own_exponent": Range(0.0, 1.0),
        "offered_exponent": Range(0.0, 1.0),
        "user_exponent": Range(0.0, 1.5),
        "decay": Range(0.2, 1.0),
    },
    defaults={
        "neighbours": 200,
        "shrinkage": 10.0,
        "own_exponent": 0.5,
        "offered_exponent": 0.5,
        "user_exponent": 0.5,
        "decay": 0.8,
    },
    cheap=frozenset({"decay"}),
    prepare=_near,
    finish=lambda near, options: LinearScorer(
        weights=near.similarity, popularity=near.popularity, decay=options["decay"]
    ),
)


@dataclass(frozen=True, slots=True)
class TextNeighbours:
    """Each item's nearest others by the cosine of their texts, nearest first."""

    items: npt.NDArray[np.int32]
    """(n_items, n_neighbours)."""
    cosine: Floats
    """(n_items, n_neighbours), not below zero."""
    popularity: Floats

    @staticmethod
    def of(text: Floats, popularity: Floats, cells: int = 20_000_000) -> TextNeighbours:
        """Compares every item with every other.

        Args:
            text: Text embeddings, (n_items, text_size); a zero row is near nothing.
            popularity: In 0..1, (n_items,).
            cells: Cosines held at once, which bounds memory.

        Raises:
            ShapeError: There is not one row of text an item.
        """
        n = len(popularity)
        if text.shape[0] != n:
            raise ShapeError(f"text has {text.shape[0]} rows, the shop {n} items")
        unit = text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-12)
        k, batch = min(MOST_NEIGHBOURS, n - 1), max(1, cells // n)
        items, values = np.zeros((n, k), np.int32), np.zeros((n, k), np.float32)
        for begin in range(0, n, batch):
            cosine = unit[begin : begin + batch] @ unit.T
            at = np.arange(len(cosine))
            cosine[at, begin + at] = -np.inf
            near = np.argpartition(-cosine, k - 1, axis=1)[:, :k] if k else items[at]
            value = np.take_along_axis(cosine, near, axis=1)
            order = np.argsort(-value, axis=1, kind="stable")
            items[begin + at] = np.take_along_axis(near, order, axis=1)
            values[begin + at] = np.take_along_axis(value, order, axis=1)
        return TextNeighbours(items, np.maximum(values, 0), popularity)

    def similarity(self, neighbours: int, power: float) -> sp.csr_array:
        """The cosine to this power with so many of the nearest items, (n_items, n_items)."""
        n, k = len(self.items), min(neighbours, self.items.shape[1])
        value = self.cosine[:, :k] ** np.float32(power)
        place = (value.ravel(), self.items[:, :k].ravel(), np.arange(n + 1) * k)
        matrix = sp.csr_array(place, shape=(n, n), dtype=np.float32)
        matrix.eliminate_zeros()
        return matrix


def _no_text(_: Interactions, material: Material) -> str | None:
    return None if material.text is not None else "the items have no text"


def _compare(history: Interactions, material: Material, _: Options) -> TextNeighbours:
    if material.text is None:
        raise KgrecError("text neighbours cannot be fitted: the items have no text; leave them out")
    return TextNeighbours.of(material.text, popularity_of(history))


def _finish(near: TextNeighbours, options: Options) -> LinearScorer:
    return LinearScorer(
        weights=near.similarity(options["neighbours"], options["power"]),
        popularity=near.popularity,
        decay=options["decay"],
        max_items=options["last"] or ALL,
    )


TEXT_NEIGHBOURS = Recipe(
    name="text neighbours",
    source="cosine of text embeddings between a user's items and all others",
    options={
        "neighbours": Choice((10, 20, 50, 100, 200)),
        "power": Range(0.5, 16.0, log=True),
        "decay": Range(0.1, 1.0),
        "last": Choice((1, 2, 3, 5, 10, 20, 50, 0)),
    },
    defaults={"neighbours": 100, "power": 4.0, "decay": 0.7, "last": 20},
    cheap=frozenset({"neighbours", "power", "decay", "last"}),
    prepare=_compare,
    finish=_finish,
    unused=lambda history, _: () if history.ordered else ("decay", "last"),
    reason=_no_text,
)
