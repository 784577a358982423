from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_network_training import CONFIG, N_ITEMS, planted

from kgrec import network_sampled, network_training
from kgrec.data_parallel import ALONE, Group
from kgrec.graph import KnowledgeGraph, Relation
from kgrec.network import NetworkConfig
from kgrec.network_examples import Batch, Examples
from kgrec.network_loss import Negatives, Steps, batch_loss
from kgrec.network_module import GraphNetwork
from kgrec.network_sampled import RowAdagrad, SampledSteps
from kgrec.network_whole import WholeSteps
from kgrec.propagate import Nodes

STILL = replace(CONFIG, identity_dropout=0.0)


def steps_of(kind: type[SampledSteps | WholeSteps], config: NetworkConfig) -> tuple[Steps, Batch]:
    """Steps over the planted shop, whose items also go with each other, and a batch."""
    train, graph, text, _ = planted()
    edges = np.stack([np.arange(N_ITEMS), np.roll(np.arange(N_ITEMS), 3)])
    goes_with = Relation("goes_with", "item", "item", edges, np.ones(N_ITEMS, np.float32))
    graph = KnowledgeGraph(graph.nodes, (*graph.relations, goes_with))
    examples, nodes = Examples(train, config), Nodes.of(graph, config.layers)
    warm = examples.popularity() > 0
    start = network_training._start(examples, graph, nodes, text, warm, spectral=True)
    module = GraphNetwork(start, config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # an untrained bias and gate would hide what they do
        for name in ("bias", *(f"layers.{at}.gate" for at in range(len(module.layers)))):
            module.get_parameter(name).add_(
                torch.randn(module.get_parameter(name).shape, generator=generator)
            )
    steps = kind(module, graph, nodes)
    steps.begin(np.random.default_rng(0))
    return steps, next(examples.batches(np.random.default_rng(0)))


def loss_of(
    steps: Steps, batch: Batch, n_negatives: int = 100, group: Group = ALONE
) -> torch.Tensor:
    train, _, _, _ = planted()
    negatives = Negatives(Examples(train, STILL).popularity(), n_negatives, 0.75)
    return batch_loss(steps, batch, negatives, torch.Generator().manual_seed(1), group)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_both_ways_agree_where_every_item_is_visited(layers: int) -> None:
    config, found = replace(STILL, layers=layers), []
    for kind in (WholeSteps, SampledSteps):
        steps, batch = steps_of(kind, config)
        loss = loss_of(steps, batch)
        wanted = [steps.module.w_g] if layers else [steps.module.w_g, steps.module.identity]
        gradients = torch.autograd.grad(loss, wanted)
        dense = [each.to_dense() if each.is_sparse else each for each in gradients]
        found.append([loss.detach(), *dense])
    for whole, sampled in zip(*found, strict=True):
        torch.testing.assert_close(sampled, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_final_vectors_agree_block_by_block(layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_sampled, "_BLOCK", 5)
    config = replace(STILL, layers=layers)
    whole, sampled = (steps_of(kind, config)[0].vectors() for kind in (WholeSteps, SampledSteps))
    for name in ("item_in", "item_out", "w_g", "bias"):
        assert getattr(sampled, name) == pytest.approx(getattr(whole, name), abs=1e-4)


def test_a_step_moves_only_the_rows_it_visits() -> None:
    steps, batch = steps_of(SampledSteps, STILL)
    one = np.flatnonzero(batch.target_user == 0)
    batch = Batch(
        known=batch.known[[0]],
        target_user=batch.target_user[one],
        target_item=batch.target_item[one],
        target_weight=batch.target_weight[one],
        own_user=batch.own_user[batch.own_user == 0],
        own_item=batch.own_item[batch.own_user == 0],
    )
    module = steps.module
    before = module.identity.detach().clone(), module.bias.detach().clone()
    loss_of(steps, batch, n_negatives=2).backward()  # type: ignore[no-untyped-call]
    for optimizer in steps.optimizers.values():
        optimizer.step()
    moved = (module.identity != before[0]).any(dim=1) | (module.bias != before[1])
    assert moved.nonzero().ravel().tolist() == module.identity.grad.coalesce().indices()[0].tolist()
    assert set(batch.known.indices) | set(batch.target_item) <= set(
        moved.nonzero().ravel().tolist()
    )
    assert 0 < moved.sum() <= len(batch.own_item) + 2 < N_ITEMS


def test_rows_move_by_their_own_squares() -> None:
    table = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))
    optimizer = RowAdagrad([table], 0.5, weight_decay=0.1)
    expected, square = table.detach().clone(), torch.zeros(3, 2)
    for step, row in enumerate([0, 2, 0], 1):
        gradient = torch.tensor([[1.0, 2.0, 3.0, -6.0 * step]])
        table.grad = torch.sparse_coo_tensor([[row]], gradient, table.shape, check_invariants=True)
        optimizer.step()
        halves = gradient.reshape(2, 2)
        square[row] += (halves**2).mean(dim=1)
        change = (halves / (square[row] / step).sqrt()[:, None]).ravel()
        expected[row] -= 0.5 * (change + 0.1 * expected[row])
    torch.testing.assert_close(table.detach(), expected)


def test_edges_past_the_limit_are_drawn_and_count_for_more() -> None:
    steps, _ = steps_of(SampledSteps, STILL)
    assert isinstance(steps, SampledSteps)
    rows = np.array([3, 4, 9])
    every, others = steps._into_items.of(rows, None, np.random.default_rng(0))
    assert sorted(others) == [0, 1, 6, 7, 12]
    assert set(every.target) == {0, 1, 2}
    generator = np.random.default_rng(0)
    some = [steps._into_items.of(rows, 4, generator)[0] for _ in range(300)]
    assert np.mean([len(edges.source) for edges in some]) == pytest.approx(4, rel=0.1)
    assert np.mean([edges.weight.sum() for edges in some]) == pytest.approx(
        every.weight.sum(), rel=0.1
    )
