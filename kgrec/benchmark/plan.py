"""Which rows a benchmark has, in which order, and which of them the data has nothing for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kgrec.benchmark.model import Material
from kgrec.benchmark.recipe import Recipe
from kgrec.benchmark.rows import Kind
from kgrec.benchmark.suite import Suite
from kgrec.errors import ConfigError, nearest
from kgrec.interactions import Interactions

OURS = "kgrec"
_ABOUT = {
    "no graph": "kgrec without the knowledge graph",
    "shuffled graph": "kgrec with the tails of every relation permuted",
    "no text": "kgrec without texts",
    "W_g alone": "kgrec with the dense half alone",
    "S alone": "kgrec with the sparse half alone",
    "no recency": "kgrec with the order of interactions forgotten",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    kind: Kind
    about: str
    source: str
    random: bool
    """Whether it is fitted under every seed."""

    @property
    def slug(self) -> str:
        """Its name as a folder has it."""
        return slug(self.name)


def slug(name: str) -> str:
    """`EASE + graph rows` as `ease-graph-rows`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def plan(
    suite: Suite,
    known: Interactions,
    material: Material,
    baselines: Mapping[str, Recipe],
    has_text: bool,
) -> tuple[list[Row], list[str]]:
    """The rows of a suite on some data, and why others are left out.

    Args:
        suite: Which ablations and baselines; no baselines means all of them.
        known: Training and validation together.
        material: Graph and text.
        baselines: The catalogue.
        has_text: Whether the catalogue has texts.

    Raises:
        ConfigError: The suite names a baseline that the catalogue lacks.
    """
    rows = [Row(OURS, "kgrec", "all parts", "", True)]
    left_out = []
    for name in suite.ablations:
        why = _nothing_to_ablate(name, known, material, has_text)
        if why:
            left_out.append(f"{name}: {why}")
        else:
            rows.append(Row(name, "ablation", _ABOUT[name], "", True))
    for name in suite.baselines or baselines:
        if name not in baselines:
            raise ConfigError(f"{suite.name}: no baseline '{name}'{nearest(name, baselines)}")
        recipe = baselines[name]
        why = recipe.reason(known, material)
        if why:
            left_out.append(f"{name}: {why}")
        else:
            rows.append(Row(name, "baseline", "", recipe.source, recipe.random))
    return rows, left_out


def choose(rows: Sequence[Row], asked: Sequence[str] | None) -> list[Row]:
    """The rows that were asked for, by name or slug, in the order of the table.

    Raises:
        ConfigError: There is no such row; the message names the nearest.
    """
    if asked is None:
        return list(rows)
    known = {row.name: row for row in rows} | {row.slug: row for row in rows}
    for name in asked:
        if name not in known:
            raise ConfigError(f"there is no row '{name}'{nearest(name, [r.name for r in rows])}")
    wanted = {known[name].name for name in asked}
    return [row for row in rows if row.name in wanted]


def _nothing_to_ablate(
    name: str, known: Interactions, material: Material, has_text: bool
) -> str | None:
    if name in ("no graph", "shuffled graph") and not material.graph.n_edges:
        return "the data has no graph"
    if name == "no text" and not has_text:
        return "the data has no text"
    if name == "no recency" and not known.ordered:
        return "the interactions are in no order"
    return None
