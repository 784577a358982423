"""Evaluation of a small model whose lists are known, so that every number can be said before."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

from kgrec.baselines import ItemKNNConfig, seen_items
from kgrec.errors import ConfigError, KgrecError
from kgrec.evaluate import evaluate_model, evaluate_top_k
from kgrec.interactions import Interactions
from kgrec.topk import TopK
from kgrec.vocabulary import Indices

N_USERS, N_ITEMS = 30, 40


@dataclass
class Fake:
    """Ranks items by a fixed score, the held-out item first for users below `n_right`."""

    history: Interactions
    held_out: Interactions | None
    n_right: int = 0

    def top_k(
        self,
        users: Indices,
        k: int,
        *,
        history: Interactions | None = None,
        allowed: npt.NDArray[np.bool_] | None = None,
        exclude_seen: bool = True,
    ) -> TopK:
        scores = np.tile(-np.arange(N_ITEMS, dtype=np.float32), (len(users), 1))
        if self.held_out is not None:
            truth = seen_items(self.held_out)[users].toarray() > 0
            scores[truth & (users < self.n_right)[:, None]] = 1
        if exclude_seen:
            scores[seen_items(history or self.history)[users].toarray() > 0] = -np.inf
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        values = np.take_along_axis(scores, best, axis=1)
        return TopK(np.where(np.isinf(values), -1, best).astype(np.int32), values)


def interactions(pairs: list[tuple[int, int]]) -> Interactions:
    user, item = np.array(pairs).T if pairs else (np.zeros(0), np.zeros(0))
    return Interactions.of(
        user,
        item,
        n_users=N_USERS,
        n_items=N_ITEMS,
        time=np.arange(len(pairs)),
        time_kind="position",
    )


def fake(n_right: int = 0, held_out: list[tuple[int, int]] | None = None) -> Fake:
    """User u has items 0..u % 5; users 28 and 29 have none. Held out is item 30 + u % 10."""
    history = [(u, i) for u in range(28) for i in range(u % 5 + 1)]
    held = [(u, 30 + u % 10) for u in range(N_USERS)] if held_out is None else held_out
    return Fake(
        interactions(history),
        interactions(held),
        n_right,
    )


def test_an_evaluation_whose_numbers_are_known() -> None:
    found = evaluate_model(fake(n_right=12), (1, 5), baselines=("popularity", "item-knn"))
    assert (found.n_users, found.n_held_out, found.n_users_without) == (30, 30, 0)
    assert (found.n_cold_users, found.n_cold_items, found.n_seen) == (2, 35, 0)
    assert found.metrics()["recall@1"] == pytest.approx(12 / 30)
    assert found.metrics()["nDCG@5"] == pytest.approx(12 / 30)
    assert found.metrics("popularity")["recall@5"] == 0
    groups = {group.name: group for group in found.models["kgrec"]}
    assert groups["cold users"].n_users == 2
    assert groups["cold users"].metrics["recall@5"] == 0
    activity = [group for name, group in groups.items() if name.startswith("history of")]
    assert sum(group.n_users for group in activity) == 28
    assert groups["cold items"].n_users == 30  # all held-out items are cold
    assert groups["warm items"].n_users == 0
    chance = found.metrics("chance", "cold items, ranked among themselves")
    assert chance["recall@5"] == pytest.approx(5 / 35)


def test_batches_change_nothing_and_the_report_is_json() -> None:
    whole = evaluate_model(fake(7), (1, 5))
    parts = evaluate_model(fake(7), (1, 5), batch_size=4)
    for model, groups in whole.models.items():
        for one, other in zip(groups, parts.models[model], strict=True):
            assert one.metrics == pytest.approx(other.metrics, nan_ok=True)
    json.dumps(whole.to_dict(), allow_nan=False)
    text = whole.to_text()
    assert "30 users with 30 held-out items count" in text
    assert "popularity" in text


def test_items_had_before_do_not_count_unless_lists_keep_them() -> None:
    repeats = fake(held_out=[(4, 0), (4, 35), (3, 1)])
    found = evaluate_model(repeats, (5,))
    assert (found.n_users, found.n_held_out, found.n_seen) == (1, 1, 2)
    assert "2 held-out items the user had before" in found.to_text()
    kept = evaluate_model(repeats, (5,), exclude_seen=False)
    assert (kept.n_users, kept.n_held_out) == (2, 3)
    assert kept.metrics()["hit_rate@5"] == 1


def test_k_past_the_catalogue_is_an_ordinary_depth() -> None:
    found = evaluate_model(fake(), (5, 100), baselines=("popularity", "item-knn"))
    assert found.metrics()["recall@100"] == 1
    assert found.metrics("item-knn")["recall@100"] == 1


@pytest.mark.parametrize(
    ("held_out", "words"),
    [([], "--split leave-last-out"), ([(4, 0)], "in its user's history already")],
)
def test_nothing_to_evaluate_is_said(held_out: list[tuple[int, int]], words: str) -> None:
    with pytest.raises(KgrecError, match=words):
        evaluate_model(fake(held_out=held_out))
    nothing = fake()
    nothing.held_out = None
    with pytest.raises(KgrecError, match="held nothing out"):
        evaluate_model(nothing)


def test_wrong_depths_and_names_are_refused() -> None:
    with pytest.raises(ConfigError):
        evaluate_model(fake(), (0,))
    with pytest.raises(KgrecError, match="has no 'cold users' of 'nobody'"):
        evaluate_model(fake(), (5,)).metrics("nobody", "cold users")


def test_item_knn_options_reach_it() -> None:
    one = evaluate_model(
        fake(), (5,), baselines=("item-knn",), item_knn=ItemKNNConfig(neighbours=1)
    )
    assert one.metrics("item-knn")["recall@5"] == 0
    assert set(one.seconds) == {"kgrec", "item-knn"}


def test_lists_that_are_there_already() -> None:
    truth = sparse.csr_array(np.array([[1, 0, 0], [0, 0, 0], [0, 0, 1]], bool))
    lists = np.array([[0, 1], [1, 2], [1, 0]], np.int32)
    got = evaluate_top_k(TopK(lists, -lists.astype(np.float32)), truth, (1, 2))
    assert got["recall@1"] == 0.5
    assert got["coverage@2"] == pytest.approx(2 / 3)  # the user without truth does not count


def test_evaluating_imports_no_torch() -> None:
    source = "import sys, kgrec.evaluate; sys.exit('torch' in sys.modules)"
    import subprocess

    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
