"""LightGCN: two routes to the same vectors, and users found again by what they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from benchmark_material import BUYERS, N_USERS, material, shop_rows

from kgrec.benchmark.lightgcn import LIGHTGCN, _had, _train, _unseen, build
from kgrec.interactions import Interactions

OPTIONS = LIGHTGCN.settle({"size": 32, "epochs": 40, "layers": 3, "regularization": 1e-4})


def test_the_layers_are_those_of_the_library_edge_by_edge() -> None:
    from torch_geometric.nn import LightGCN

    had = _had(shop_rows())
    model, edges = build(had, 8, 2)
    library = LightGCN(sum(had.shape), 8, 2)
    library.embedding.load_state_dict(model.embedding.state_dict())
    user, item = (torch.from_numpy(n.astype(np.int64)) for n in had.nonzero())
    one_way = torch.stack([user, item + N_USERS])
    both = torch.cat([one_way, one_way.flip(0)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(model.get_embedding(edges), library.get_embedding(both))


def test_a_fitted_user_has_the_vector_of_the_published_model() -> None:
    rows = shop_rows()
    mean = np.mean(_train(_had(rows), 7, OPTIONS), axis=0)
    expected = mean[:N_USERS] @ mean[N_USERS:].T
    alone = unlike_all_others(rows)
    scores = LIGHTGCN.fit(rows, material(), OPTIONS).scores(rows)
    assert len(alone) >= 8
    np.testing.assert_allclose(scores[alone], expected[alone], rtol=1e-3, atol=1e-4)


def unlike_all_others(rows: Interactions) -> list[int]:
    """Users whose set of items nobody shares."""
    sets: list[Any] = [frozenset(rows.items_of(user).tolist()) for user in range(BUYERS)]
    return [user for user in range(BUYERS) if sets.count(sets[user]) == 1]


def test_it_learns_who_buys_in_which_group() -> None:
    rows = shop_rows()
    scores = LIGHTGCN.fit(rows, material(), OPTIONS).scores(rows)
    first = np.argsort(-scores[:BUYERS], axis=1)[:, :2] % 6
    assert (first == (np.arange(BUYERS) % 6)[:, None]).mean() > 0.9


def test_negatives_are_items_that_the_user_lacks() -> None:
    had = _had(shop_rows())
    user = np.repeat(np.arange(N_USERS), 20).astype(np.int64)
    owner, item = had.nonzero()
    known = owner.astype(np.int64) * had.shape[1] + item
    drawn = _unseen(known, had.shape[1], user, np.random.default_rng(0))
    assert (np.asarray(had.toarray())[user, drawn] == 0).mean() > 0.99


def test_nothing_seeds_the_process() -> None:
    torch.manual_seed(3)
    LIGHTGCN.fit(shop_rows(), material(), OPTIONS)
    first = torch.rand(1)
    torch.manual_seed(4)
    LIGHTGCN.fit(shop_rows(), material(), OPTIONS)
    assert first != torch.rand(1)
