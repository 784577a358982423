from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from toy_shop import planted_shop

from kgrec.fit_report import Clock, fit_report
from kgrec.item_index import IndexConfig, ItemIndex
from kgrec.network import NetworkConfig
from kgrec.ranker import Ranker, offered, popularity_vectors
from kgrec.ranker_config import RankerConfig
from kgrec.split import SplitConfig, split
from kgrec.tune import Trial


def ranker_of(config: RankerConfig) -> Ranker:
    degree = np.ones(40, np.float32)
    dense = popularity_vectors(degree)
    block = sp.csr_array((4 * 40, 40), dtype=np.float32)
    views = ("history", "last", "view", "cart")
    return Ranker(
        config, dense, block, offered(dense.item_out, dense.bias, degree, config), degree, views
    )


def test_what_is_switched_off_is_named() -> None:
    config = RankerConfig(text_weight=0, cross_weight=(0.0, 0.3), own_weight=(1.0, 0.0))
    ranker = ranker_of(config)
    index = ItemIndex.build(ranker.item_vectors, IndexConfig())
    parts = split(planted_shop(), SplitConfig())
    trials = [Trial("ridge", 30.0, 0.1, 0.5, True), Trial("own_weight.1", 0.0, 0.2, 0.5, True)]
    network = NetworkConfig(temperature=0.15)
    report = fit_report(Clock(), trials, index, ranker, network, parts.known, parts.sizes)
    assert report["switched_off"] == ["text_weight", "cross_weight of view", "own_weight of cart"]
    assert report["chosen"]["network.temperature"] == 0.15
    assert report["interactions"]["train"] == len(parts.train)
    switched = replace(network, enabled=False)
    off = fit_report(Clock(), [], index, ranker, switched, parts.known, parts.sizes)
    assert "network.temperature" not in off["chosen"]
    assert [t["field"] for t in report["trials"]] == ["ridge", "own_weight.1"]


def test_a_stage_leaves_nothing_in_cycles() -> None:
    class Node:
        pass

    def work() -> weakref.ref[Node]:
        node = Node()
        node.itself = node  # type: ignore[attr-defined]
        return weakref.ref(node)

    gc.disable()
    try:
        left = Clock()("stage", work)
    finally:
        gc.enable()
    assert left() is None
