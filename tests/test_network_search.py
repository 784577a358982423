from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_shop import planted_shop

from kgrec.counts import gather
from kgrec.interactions import Interactions
from kgrec.network import DenseVectors, NetworkConfig, Parameters
from kgrec.network_search import best_network, final_network
from kgrec.ranker_config import RankerConfig
from kgrec.shop import Shop
from kgrec.split import Parts, SplitConfig, split


def planted() -> tuple[Shop, Parts]:
    shop = planted_shop(n_users=80, length=7)
    return shop, split(shop, SplitConfig())


class Teacher:
    """Trains nothing: items of a group are alike at one temperature, noise at any other."""

    def __init__(self, good: float) -> None:
        self.good = good
        self.asked: list[tuple[float, int, int, bool]] = []

    def __call__(
        self,
        rows: Interactions,
        config: NetworkConfig,
        held_out: Interactions | None,
        begun: Parameters,
    ) -> DenseVectors:
        self.asked.append((config.temperature, config.seed, config.epochs, bool(begun)))
        group = np.eye(4, dtype=np.float32)[np.arange(rows.n_items) % 4]
        noise = np.random.default_rng(config.seed).normal(size=group.shape).astype(np.float32)
        vectors = group if config.temperature == self.good else noise
        w_g = np.eye(4, dtype=np.float32)
        bias = np.zeros(rows.n_items, np.float32)
        return DenseVectors(vectors, vectors * 10, w_g, bias, parameters={"bias": bias})


@pytest.mark.parametrize("good", [0.1, 0.15])
def test_the_network_that_joins_best_is_kept(good: float) -> None:
    shop, parts = planted()
    evidence = gather(parts.train, shop.graph, None, RankerConfig(attribute_weight=0))
    ranker = RankerConfig(attribute_weight=0, ridge=1e6)  # S says little
    teacher = Teacher(good)
    validation, chosen, joined, trials = best_network(
        teacher, evidence, parts.validation, NetworkConfig(), ranker
    )
    assert chosen.temperature == good
    assert validation.score(joined) == pytest.approx(max(t.score for t in trials), rel=0.05)
    tried = {(t.field, t.value) for t in trials}
    assert tried == {
        ("network.temperature", 0.1), ("network.temperature", 0.15), ("network.epochs", 15),
        ("network.layers", 0),
    }  # fmt: skip
    assert chosen.epochs == 5  # no better, so not taken
    some = [t for t in trials if t.field == "network.temperature"]
    assert some[int(np.argmax([t.score for t in some]))].value == good


def test_a_large_shop_trains_one_network_to_search_with() -> None:
    shop, parts = planted()
    evidence = gather(parts.train, shop.graph, None, RankerConfig())
    teacher = Teacher(0.1)
    config = NetworkConfig(search_rows=10)
    _, chosen, _, trials = best_network(teacher, evidence, parts.validation, config, RankerConfig())
    assert (chosen, trials, len(teacher.asked)) == (config, [], 1)


def test_a_shop_with_a_large_graph_is_not_small() -> None:
    shop, parts = planted()
    evidence = gather(parts.train, shop.graph, None, RankerConfig())
    _, _, _, trials = best_network(
        Teacher(0.1), evidence, parts.validation, NetworkConfig(), RankerConfig(), n_edges=100_000
    )
    assert {t.field for t in trials} == {"network.temperature"}


def test_without_a_network_nothing_is_trained() -> None:
    shop, parts = planted()
    evidence = gather(parts.train, shop.graph, None, RankerConfig())
    teacher = Teacher(0.1)
    off = NetworkConfig(enabled=False)
    validation, _, _, trials = best_network(
        teacher, evidence, parts.validation, off, RankerConfig()
    )
    assert not teacher.asked
    assert not trials
    assert validation.dense.item_out.shape[1] == 1


def test_a_small_shop_gets_its_members_from_the_start() -> None:
    _, parts = planted()
    teacher = Teacher(0.1)
    final_network(teacher, parts.known, NetworkConfig(small_rows=10), {})
    assert len(teacher.asked) == 2
    teacher.asked.clear()
    final_network(teacher, parts.known, NetworkConfig(), {}, n_edges=100_000)
    assert len(teacher.asked) == 2
    teacher.asked.clear()
    begun = {"bias": np.zeros(40, np.float32)}
    dense = final_network(teacher, parts.known, NetworkConfig(members=3, seed=5), begun)
    assert [asked[1] for asked in teacher.asked] == [5, 6, 7]
    assert not any(asked[3] for asked in teacher.asked)
    assert dense.item_out.shape[1] == 12


def test_a_large_shop_goes_on_from_the_search() -> None:
    _, parts = planted()
    teacher = Teacher(0.1)
    config = replace(NetworkConfig(), search_rows=10, small_rows=10, member_rows=10, refit_epochs=2)
    final_network(teacher, parts.known, config, {"bias": np.zeros(40, np.float32)})
    assert teacher.asked == [(0.1, config.seed, 2, True)]
    final_network(teacher, parts.known, config, {})  # no search went before
    assert teacher.asked[-1] == (0.1, config.seed, config.epochs, False)
    final_network(teacher, parts.known, replace(config, member_rows=10**6), {"bias": np.zeros(40)})
    assert teacher.asked[-2:] == [(0.1, config.seed, 2, True), (0.1, config.seed + 1, 5, False)]
