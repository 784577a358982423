from __future__ import annotations

import numpy as np
import pytest
import torch

from kgrec.errors import ShapeError
from kgrec.network_loss import Negatives, sampled_softmax_loss


def test_over_every_item_it_is_the_cross_entropy() -> None:
    scores = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([3, 0, 8, 5])
    users = torch.arange(4)
    others = scores.clone()
    others[users, target] = -1e9
    loss = sampled_softmax_loss(scores[users, target], others, users, torch.full((4,), 0.25))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(scores, target))


def test_a_user_who_has_the_whole_sample_costs_nothing() -> None:
    full = torch.full((1, 5), -1e9, requires_grad=True)
    loss = sampled_softmax_loss(torch.tensor([2.0]), full, torch.tensor([0]), torch.tensor([1.0]))
    loss.backward()
    assert loss.item() == 0
    assert full.grad is not None
    assert torch.isfinite(full.grad).all()


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ShapeError, match="differ"):
        sampled_softmax_loss(
            torch.zeros(2), torch.zeros(1, 3), torch.zeros(3, dtype=torch.long), torch.zeros(2)
        )


def test_cold_items_are_never_drawn_and_a_small_shop_is_taken_whole() -> None:
    popularity = np.array([0, 5, 1, 0, 2])
    items, log_q = Negatives(popularity, n_negatives=4, power=0.75).draw(torch.Generator())
    assert items.tolist() == [1, 2, 4]
    assert not log_q.any()
    generator = torch.Generator().manual_seed(0)
    drawn, _ = Negatives(popularity, n_negatives=1, power=0.75).draw(generator)
    assert drawn.item() in (1, 2, 4)


@pytest.mark.parametrize("by_repeats", [False, True])
def test_logq_makes_the_sample_stand_for_all_items(by_repeats: bool) -> None:
    draw = np.random.default_rng(0)
    popularity = draw.zipf(1.8, 400).clip(max=1000)
    scores = torch.from_numpy(draw.normal(size=400))
    negatives = Negatives(popularity, n_negatives=60, power=0.75, by_repeats=by_repeats)
    generator = torch.Generator().manual_seed(0)
    sums = []
    for _ in range(600):
        items, log_q = negatives.draw(generator)
        assert len(items.unique()) == 60
        sums.append(torch.exp(scores[items] - log_q).sum().item())
    assert np.mean(sums) == pytest.approx(torch.exp(scores).sum().item(), rel=0.05)
