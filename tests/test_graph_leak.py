from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.graph import KnowledgeGraph, Relation
from kgrec.graph_leak import last_of_each_user, measure_leaks
from kgrec.interactions import Interactions
from kgrec.vocabulary import Vocabulary

N_USERS, N_ITEMS = 400, 200


def history(seed: int = 0) -> Interactions:
    """Five random items a user, so that nothing but a leak can foretell the last."""
    generator = np.random.default_rng(seed)
    items = np.stack([generator.permutation(N_ITEMS)[:5] for _ in range(N_USERS)])
    user = np.repeat(np.arange(N_USERS), 5)
    time = np.tile(np.arange(5), N_USERS)
    return Interactions.of(user, items.ravel(), n_users=N_USERS, n_items=N_ITEMS, time=time)


def graph(edges: np.ndarray, may_leak: bool = False) -> KnowledgeGraph:
    nodes = {
        "item": Vocabulary(map(str, range(N_ITEMS))),
        "user": Vocabulary(map(str, range(N_USERS)), "user"),
    }
    weight = np.ones(edges.shape[1], np.float32)
    return KnowledgeGraph(nodes, (Relation("also", "item", "item", edges, weight, may_leak),))


def test_a_relation_made_from_the_held_out_purchases_is_found() -> None:
    interactions = history()
    last = interactions.start[1:] - 1
    edges = np.stack([interactions.item[last - 1], interactions.item[last]]).astype(np.int64)
    (leak,) = measure_leaks(graph(edges), interactions, last_of_each_user(interactions))
    assert leak.suspect
    assert leak.last is not None
    assert leak.last.joined == 1.0
    assert leak.last.lift > leak.last.lift_low > 3


def test_a_random_relation_is_not_suspected_unless_marked() -> None:
    interactions = history()
    edges = np.random.default_rng(1).integers(0, N_ITEMS, (2, 2000))
    held_out = last_of_each_user(interactions)
    (leak,) = measure_leaks(graph(edges), interactions, held_out)
    assert not leak.suspect
    assert 0.5 < leak.any.lift < 2
    (marked,) = measure_leaks(graph(edges, may_leak=True), interactions, held_out)
    assert marked.suspect
    assert marked.any == leak.any


def test_nothing_joined_has_lift_one_and_no_suspicion() -> None:
    interactions = history()
    edges = np.zeros((2, 1), np.int64)
    (leak,) = measure_leaks(graph(edges), interactions, last_of_each_user(interactions))
    assert leak.any.joined == 0
    assert leak.any.lift == 1
    assert not leak.suspect


def test_without_order_there_is_no_last_item() -> None:
    interactions = replace(history(), time_kind="none")
    edges = np.random.default_rng(1).integers(0, N_ITEMS, (2, 2000))
    held_out = last_of_each_user(interactions)
    (leak,) = measure_leaks(graph(edges), interactions, held_out)
    assert leak.last is None
    assert leak.any.joined > 0


@settings(max_examples=20)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_last_of_each_user_takes_one_row_of_those_with_two(users: list[int]) -> None:
    rows = len(users)
    interactions = Interactions.of(
        users, np.arange(rows), n_users=6, n_items=rows, time=np.arange(rows)
    )
    held_out = last_of_each_user(interactions)
    several = [user for user in range(6) if users.count(user) > 1]
    assert held_out.user.tolist() == several
    assert held_out.item.tolist() == [interactions.items_of(user)[-1] for user in several]
