"""Baselines that do one thing each, for rows that run in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from kgrec.benchmark.model import Choice, Material, Scores
from kgrec.benchmark.recipe import Recipe, popularity_of
from kgrec.errors import DataError
from kgrec.interactions import Interactions


class Popular:
    def __init__(self, popularity: Any, power: float) -> None:
        self.popularity, self.power = popularity, power

    def scores(self, history: Interactions) -> Scores:
        row = self.popularity**self.power
        return np.tile(row.astype(np.float32), (history.n_users, 1))


def prepare(history: Interactions, material: Material, options: Mapping[str, Any]) -> Any:
    return popularity_of(history)


def sleep(history: Interactions, material: Material, options: Mapping[str, Any]) -> Any:
    time.sleep(60)


def eat(history: Interactions, material: Material, options: Mapping[str, Any]) -> Any:
    blocks = []
    while len(blocks) < 600:
        blocks.append(np.ones(2**20))  # 8 MiB, touched
        time.sleep(0.002)
    return blocks


def fail(history: Interactions, material: Material, options: Mapping[str, Any]) -> Any:
    raise ZeroDivisionError("nothing to divide by")


def refuse(history: Interactions, material: Material, options: Mapping[str, Any]) -> Any:
    raise DataError("this data will not do")


def _recipe(name: str, prepare: Any, **options: Any) -> Recipe:
    return Recipe(
        name=name,
        source="nobody",
        prepare=prepare,
        finish=lambda popularity, settled: Popular(popularity, settled["power"]),
        options={"power": Choice((0.0, 1.0, 2.0))},
        defaults={"power": 1.0},
        **options,
    )


BASELINES = {
    r.name: r
    for r in (
        _recipe("popular", prepare),
        _recipe("drawn", prepare, random=True),
        _recipe("slow", sleep),
        _recipe("hungry", eat),
        _recipe("broken", fail),
        _recipe("refused", refuse),
        _recipe("elsewhere", prepare, reason=lambda history, material: "it has no place here"),
    )
}
