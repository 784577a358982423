"""What a fit did: seconds by stage, the search's trials, what it chose and switched off."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from kgrec.interactions import Interactions
from kgrec.item_index import ItemIndex, index_recall
from kgrec.network import NetworkConfig
from kgrec.progress import say
from kgrec.ranker import Ranker
from kgrec.tune import Trial

T = TypeVar("T")


class Clock:
    """Runs stages and adds up the seconds that each of them took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, work: Callable[[], T]) -> T:
        """The result of one stage."""
        say(f"fit: {stage} ...")
        began = time.perf_counter()
        result = work()
        # What compiles a kernel leaves its callers' frames in cycles, with gigabytes of arrays.
        gc.collect()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began
        return result


def fit_report(
    clock: Clock,
    trials: Sequence[Trial],
    index: ItemIndex,
    ranker: Ranker,
    network: NetworkConfig,
    known: Interactions,
    sizes: dict[str, int],
) -> dict[str, Any]:
    """JSON values for the manifest; measures index_recall where the index is not exact."""
    chosen = asdict(ranker.config)
    if network.enabled:
        for name in ("temperature", "epochs", "hidden_share", "layers"):
            chosen[f"network.{name}"] = getattr(network, name)
    recall = 1.0
    if not index.exact:
        sample = known.select(np.arange(min(1000, known.n_users)))
        recall = index_recall(index, ranker.item_vectors, ranker.user_vectors(sample))
        say(f"fit: the {index.kind} index finds {recall:.1%} of the exact top 100")
    off = _switched_off(ranker)
    if trials:
        best = max(trials, key=lambda trial: trial.score)
        say(
            f"fit: {len(trials)} trials, on validation {trials[0].score:.4f} -> {best.score:.4f}; "
            f"switched off: {', '.join(off) or 'nothing'}"
        )
        fields = (trial.field for trial in trials)
        moved = dict.fromkeys(f if f in chosen else f.partition(".")[0] for f in fields)
        say("fit: chosen: " + ", ".join(f"{f} {chosen[f]}" for f in moved if f in chosen))
    return {
        "seconds": {stage: round(value, 2) for stage, value in clock.seconds.items()},
        "interactions": sizes,
        "index": {"kind": index.kind, "index_recall": recall},
        "chosen": chosen,
        "switched_off": off,
        "trials": [trial.to_dict() for trial in trials],
    }


def _switched_off(ranker: Ranker) -> list[str]:
    """Weights that are zero; those of other behaviours by name, as `cross_weight of cart`."""
    off = []
    for name, value in asdict(ranker.config).items():
        if not name.endswith("_weight"):
            continue
        if not isinstance(value, tuple):
            off += [name] if value == 0 else []
            continue
        pairs = zip(ranker.views[2:], value, strict=False)  # none is given where nothing is tuned
        off += [f"{name} of {view}" for view, one in pairs if one == 0]
    return off
