"""Every baseline by its name, in the order of the table."""

from __future__ import annotations

from collections.abc import Mapping

from kgrec.benchmark.behaviours import BEHAVIOURS
from kgrec.benchmark.factors import IALS
from kgrec.benchmark.lightgcn import LIGHTGCN
from kgrec.benchmark.linear import EASE, EASE_GRAPH, SPARSE_RIDGE
from kgrec.benchmark.model import Material
from kgrec.benchmark.neighbours import ITEM_KNN, TEXT_NEIGHBOURS
from kgrec.benchmark.recipe import Recipe
from kgrec.benchmark.rules import OWN_FIRST, POPULARITY, RANDOM, TRANSITION
from kgrec.errors import ConfigError, nearest
from kgrec.interactions import Interactions

BASELINES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        RANDOM,
        POPULARITY,
        OWN_FIRST,
        TRANSITION,
        TEXT_NEIGHBOURS,
        ITEM_KNN,
        IALS,
        LIGHTGCN,
        SPARSE_RIDGE,
        BEHAVIOURS,
        EASE,
        EASE_GRAPH,
    )
}


def baseline(name: str) -> Recipe:
    """The baseline of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in BASELINES:
        raise ConfigError(f"there is no baseline '{name}'{nearest(name, BASELINES)}")
    return BASELINES[name]


def applies(name: str, history: Interactions, material: Material) -> str | None:
    """Why a baseline has no place on this data (no order, no text); None when it has.

    Raises:
        ConfigError: There is no baseline of this name.
    """
    return baseline(name).reason(history, material)
