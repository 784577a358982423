from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kgrec import network_training
from kgrec.errors import DataError, ShapeError
from kgrec.graph import KnowledgeGraph, Relation
from kgrec.interactions import Interactions
from kgrec.network import DenseVectors, NetworkConfig
from kgrec.network_examples import Examples
from kgrec.network_training import train_network
from kgrec.vocabulary import Vocabulary

N_USERS, N_ITEMS = 60, 24
CONFIG = NetworkConfig(size=8, epochs=4, batch_size=16, learning_rate=0.02, patience=4)


def planted(seed: int = 0) -> tuple[Interactions, KnowledgeGraph, np.ndarray, Interactions]:
    """Users and items of two groups that share nothing; items 22 and 23, one of each group, are
    cold. Brand and text tell the group, so the best possible ranking puts a user's own group
    first, cold item included.

    Returns:
        Training part, graph, text and validation part.
    """
    draw = np.random.default_rng(seed)
    user = np.repeat(np.arange(N_USERS), 6)
    item = np.concatenate([2 * draw.permutation(11)[:6] + u % 2 for u in range(N_USERS)])
    everything = Interactions.of(
        user, item, time=np.tile(np.arange(6), N_USERS), time_kind="position",
        n_users=N_USERS, n_items=N_ITEMS,
    )  # fmt: skip
    group = np.arange(N_ITEMS) % 2
    edges = np.stack([np.arange(N_ITEMS), group])
    nodes = {
        "user": Vocabulary(range(N_USERS), "user"),
        "item": Vocabulary(range(N_ITEMS)),
        "brand": Vocabulary(["even", "odd", "nothing"], "brand"),
    }
    brand = Relation("has_brand", "item", "brand", edges, np.ones(N_ITEMS, np.float32))
    text = draw.normal(0, 0.1, (N_ITEMS, 5)).astype(np.float32)
    text[np.arange(N_ITEMS), group] += 1
    last = everything.time == 5
    parts = everything.where(~last), everything.where(last)
    return parts[0], KnowledgeGraph(nodes, (brand,)), text, parts[1]


def scores_of(dense: DenseVectors, train: Interactions) -> np.ndarray:
    history = np.zeros((N_USERS, N_ITEMS), np.float32)
    history[train.user, train.item] = 1
    users = dense.user_vectors(network_training.csr_array(history))
    return np.asarray(users @ dense.item_out.T + dense.bias)


def same(a: DenseVectors, b: DenseVectors) -> bool:
    pairs = [(a.item_in, b.item_in), (a.item_out, b.item_out), (a.w_g, b.w_g), (a.bias, b.bias)]
    pairs += [(a.entities[kind], b.entities[kind]) for kind in a.entities]
    return all(np.array_equal(x, y) for x, y in pairs)


def own_group_first(scores: np.ndarray) -> float:
    """Share of users whose best 12 items are those of their own group."""
    best = np.argsort(-scores, axis=1)[:, :12]
    return float((best % 2 == (np.arange(N_USERS) % 2)[:, None]).all(axis=1).mean())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_text": False},
        {"use_graph": False},
        {"use_identity": False},
        {"layers": 2, "max_edges_per_step": 20},
        {"sampled_items": 1},
        {"sampled_items": 1, "use_text": False},
        {"sampled_items": 1, "use_graph": False},
        {"sampled_items": 1, "use_identity": False},
        {"sampled_items": 1, "n_negatives": 8, "layers": 2, "max_edges_per_step": 20},
    ],
)
def test_planted_groups_are_told_apart_cold_items_too(changes: dict[str, int]) -> None:
    train, graph, text, validation = planted()
    dense = train_network(train, graph, text, replace(CONFIG, **changes), validation=validation)
    assert dense.item_in.shape == dense.item_out.shape == (N_ITEMS, 8)
    assert np.linalg.norm(dense.item_out, axis=1) == pytest.approx(10, rel=1e-4)
    assert own_group_first(scores_of(dense, train)) == 1
    assert dense.bias[22:].tolist() == [0, 0]
    if changes.get("use_graph", True):
        even, odd, nothing = dense.entities["brand"]
        assert even @ dense.item_out[22] > odd @ dense.item_out[22]
        assert not nothing.any()


def test_without_text_and_graph_cold_items_stay_at_zero() -> None:
    train, graph, _, _ = planted()
    dense = train_network(train, graph, None, replace(CONFIG, use_graph=False))
    assert not dense.item_in[22:].any()
    assert not dense.item_out[22:].any()
    assert own_group_first(np.delete(scores_of(dense, train), [22, 23], axis=1)) < 1


@pytest.mark.parametrize("sampled_items", [1, 1000])
def test_same_seed_same_vectors_another_seed_others(sampled_items: int) -> None:
    train, graph, text, validation = planted()
    config = replace(CONFIG, sampled_items=sampled_items, n_negatives=8)
    first, second, other = (
        train_network(train, graph, text, replace(config, seed=seed), validation=validation)
        for seed in (1, 1, 2)
    )
    assert same(first, second)
    assert not same(first, other)


class Killed(BaseException):
    """Stands for a signal: nothing in the code under test may catch it."""


@pytest.mark.parametrize("sampled_items", [1, 1000])
@pytest.mark.parametrize("with_validation", [True, False])
def test_a_killed_run_resumes_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_validation: bool, sampled_items: int
) -> None:
    train, graph, text, held_out = planted()
    validation = held_out if with_validation else None
    config = replace(CONFIG, max_edges_per_step=30, sampled_items=sampled_items)
    straight = train_network(train, graph, text, config, validation=validation)
    loss, calls = network_training.batch_loss, 0

    def dies_in_the_third_epoch(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 18:  # eight steps an epoch
            raise Killed
        return loss(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(network_training, "batch_loss", dies_in_the_third_epoch)
    with pytest.raises(Killed):
        train_network(train, graph, text, config, validation=validation, checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]
    resumed = train_network(train, graph, text, config, validation=validation, checkpoint=tmp_path)
    assert same(straight, resumed)
    assert calls == 18 + 16, "epochs three and four, no more"
    again = train_network(train, graph, text, config, validation=validation, checkpoint=tmp_path)
    assert same(straight, again)
    assert calls == 34, "a finished training is not repeated"


def test_a_checkpoint_of_other_options_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, graph, text, _ = planted()
    train_network(train, graph, text, CONFIG, checkpoint=tmp_path)
    other = replace(CONFIG, epochs=2, seed=9)
    expected = train_network(train, graph, text, other)
    assert same(expected, train_network(train, graph, text, other, checkpoint=tmp_path))
    assert "other data or options" in capsys.readouterr().err


def test_training_stops_when_validation_no_longer_gains(capsys: pytest.CaptureFixture[str]) -> None:
    train, graph, text, validation = planted()
    config = replace(CONFIG, epochs=50, patience=2, learning_rate=1e-12)
    train_network(train, graph, text, config, validation=validation)
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_items_renumbered_keep_their_scores() -> None:
    train, graph, text, _ = planted()
    config = replace(CONFIG, size=24, epochs=1, learning_rate=1e-12)
    new = np.random.default_rng(3).permutation(N_ITEMS)
    moved = replace(train, item=new[train.item].astype(np.int32))
    edges = graph.relations[0].edges
    relation = replace(graph.relations[0], edges=np.stack([new[edges[0]], edges[1]]))
    moved_text = np.empty_like(text)
    moved_text[new] = text
    before = scores_of(train_network(train, graph, text, config), train)
    moved_graph = KnowledgeGraph(graph.nodes, (relation,))
    after = scores_of(train_network(moved, moved_graph, moved_text, config), moved)
    assert after[:, new] == pytest.approx(before, abs=0.05)


def test_what_cannot_be_trained_on_is_said() -> None:
    train, graph, text, _ = planted()
    with pytest.raises(ShapeError, match="text has 3 rows, interactions 24 items"):
        train_network(train, graph, text[:3], CONFIG)
    small = KnowledgeGraph({**graph.nodes, "item": Vocabulary(range(99))})
    with pytest.raises(ShapeError, match="the graph has 99 items, interactions 24"):
        train_network(train, small, text, CONFIG)
    with pytest.raises(DataError, match="no user has two distinct items"):
        train_network(train.where(train.time == 0), graph, text, CONFIG)


@pytest.mark.parametrize("sampled_items", [1, 1000])
def test_training_goes_on_from_parameters(sampled_items: int) -> None:
    train, graph, text, _ = planted()
    config = replace(CONFIG, sampled_items=sampled_items)
    whole = train_network(train, graph, text, config)
    still = replace(config, epochs=1, learning_rate=1e-9)
    more = train_network(train, graph, text, still, start=whole.parameters)
    np.testing.assert_allclose(more.item_out, whole.item_out, atol=1e-4)
    np.testing.assert_allclose(more.bias, whole.bias, atol=1e-4)
    assert set(whole.parameters) == set(more.parameters)


def test_batches_grow_and_shrink_with_the_shop() -> None:
    train, _, _, _ = planted()
    few = replace(CONFIG, batch_size=1)  # 60 users: 24 steps would be 3 users a step
    assert Examples(train, few).n_batches() == 20
    assert Examples(train, replace(CONFIG, batch_size=16)).n_batches() == 8
    assert Examples(train, replace(CONFIG, batch_size=6)).n_batches() == 10
    assert Examples(train, replace(few, sampled_items=N_ITEMS)).n_batches() == 60


def test_a_large_shop_has_shorter_vectors() -> None:
    train, graph, text, _ = planted()
    config = replace(CONFIG, size=64, epochs=1, budget_bytes=N_ITEMS * 8 * 40)
    assert train_network(train, graph, text, config).item_out.shape == (N_ITEMS, 32)
