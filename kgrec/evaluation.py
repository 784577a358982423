"""What an evaluation found: metrics of models over groups of users, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kgrec.errors import KgrecError

EVERYONE = "all users"
COLD_USERS = "cold users"
WARM_ITEMS = "warm items"
COLD_ITEMS = "cold items"
COLD_ALONE = "cold items, ranked among themselves"


@dataclass(frozen=True, slots=True)
class Group:
    """Mean metrics of one model over one group."""

    name: str
    n_users: int
    """Users of the group who have a held-out item that counts for it."""
    metrics: Mapping[str, float]
    """By key: `recall@10`; every user weighs the same."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate_model` finds; `to_text` for a person, `to_dict` for a machine."""

    ks: tuple[int, ...]
    n_items: int
    n_users: int
    """Users that count: those with a held-out item."""
    n_users_without: int
    """Users that do not."""
    n_held_out: int
    """Held-out (user, item) pairs that count."""
    n_seen: int
    """Held-out pairs left out because the user had the item before."""
    n_cold_users: int
    """Users among those that count whose history is empty."""
    n_cold_items: int
    """Items of the catalogue that nobody's history has."""
    n_cold_held_out: int
    """Held-out pairs whose item is cold."""
    models: Mapping[str, tuple[Group, ...]]
    """Groups by model; the first one is everyone."""
    seconds: Mapping[str, float]
    """Time to fit (baselines) and rank, by model."""

    def metrics(self, model: str = "kgrec", group: str = EVERYONE) -> Mapping[str, float]:
        """The metrics of one model and group.

        Raises:
            KgrecError: There is no such group.
        """
        for found in self.models.get(model, ()):
            if found.name == group:
                return found.metrics
        known = ", ".join(f"{m}: {g.name}" for m, groups in self.models.items() for g in groups)
        raise KgrecError(f"the evaluation has no '{group}' of '{model}'; it has {known}")

    def to_dict(self) -> dict[str, Any]:
        """Everything as nested dictionaries and lists, ready for JSON; NaN as None."""
        table = asdict(self)
        for groups in table["models"].values():
            for group in groups:
                group["metrics"] = {
                    name: None if np.isnan(value) else value
                    for name, value in group["metrics"].items()
                }
        return table

    def to_text(self) -> str:
        """The report as lines for a terminal."""
        return "\n".join(_lines(self))


def _lines(e: Evaluation) -> Iterator[str]:
    share = e.n_cold_users / e.n_users
    yield (
        f"{e.n_users:,} users with {e.n_held_out:,} held-out items count; {e.n_cold_users:,} of "
        f"them ({share:.1%}) are cold (no history). {e.n_users_without:,} users have nothing held "
        f"out. Full ranking of {e.n_items:,} items, of which nobody had {e.n_cold_items:,}."
    )
    if e.n_seen:
        yield f"{e.n_seen:,} held-out items the user had before; lists leave such items out."
    everyone = [name for name in e.models if name != "chance"]
    width = max(map(len, e.models)) + 2
    for k in e.ks:
        names = [name for name in e.metrics() if name.endswith(f"@{k}")]
        yield ""
        yield " " * width + "".join(f"{name:>14}" for name in names)
        for model in everyone:
            values = "".join(f"{e.metrics(model)[name]:>14.4f}" for name in names)
            yield f"{model:<{width}}{values}"
    k = e.ks[-1]
    yield ""
    yield f"{'group':<38}{'users':>8}  {'model':<{width}}" + "".join(
        f"{name:>14}" for name in (f"recall@{k}", f"nDCG@{k}", f"hit_rate@{k}")
    )
    for group in [g.name for g in e.models["kgrec"]]:
        for model, groups in e.models.items():
            for found in (g for g in groups if g.name == group):
                shown = (found.metrics.get(f"{m}@{k}") for m in ("recall", "nDCG", "hit_rate"))
                values = "".join(f"{'-' if v is None else f'{v:.4f}':>14}" for v in shown)
                yield f"{group:<38}{found.n_users:>8,}  {model:<{width}}{values}"
