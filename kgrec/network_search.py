"""Which network joins the sparse half best: judged by their sum on validation, not alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from kgrec.counts import Evidence
from kgrec.interactions import Interactions
from kgrec.network import DenseVectors, NetworkConfig, Parameters, side_by_side
from kgrec.ranker import popularity_vectors
from kgrec.ranker_config import RankerConfig
from kgrec.tune import Trial, first
from kgrec.validation import Criterion, Validation

Learn = Callable[[Interactions, NetworkConfig, Interactions | None, Parameters], DenseVectors]
"""Trains on some interactions, with a part to validate on and parameters to go on from."""
_WEIGHTS = (0.02, 0.03, 0.045)


def best_network(
    learn: Learn,
    evidence: Evidence,
    held_out: Interactions,
    config: NetworkConfig,
    ranker: RankerConfig,
    cold_apart: bool = False,
    criterion: Criterion | None = None,
    n_edges: int = 0,
) -> tuple[Validation, NetworkConfig, RankerConfig, list[Trial]]:
    """Trains the networks that the options allow on the training part and compares them.

    Args:
        learn: Trains one network.
        evidence: Of the training part.
        held_out: The validation part.
        config: Options; `temperatures` are tried up to `search_rows` interactions, more up to
            `small_rows`.
        ranker: The configuration that the network is to join.
        cold_apart: See `Validation`.
        criterion: Likewise.
        n_edges: Edges of the graph, which with the interactions are the shop's size.

    Returns:
        Validation with the best network, its options, the ranker's with the weight that suits it,
        and the trials when there were several.
    """

    def judge(dense: DenseVectors) -> Validation:
        return Validation(
            evidence, held_out, dense, max_items=ranker.search_items,
            seed=config.seed, cold_apart=cold_apart, criterion=criterion,
        )  # fmt: skip

    if not config.enabled:
        return judge(popularity_vectors(evidence.degree)), config, ranker, []
    compared = config.temperatures if len(evidence.history) <= config.search_rows else ()
    if not compared:
        return judge(learn(evidence.history, config, held_out, {})), config, ranker, []
    trials, tried = list[Trial](), list[tuple[float, Validation, NetworkConfig, float]]()

    def attempt(field: str, value: float, one: NetworkConfig, weights: Sequence[float]) -> None:
        began = time.perf_counter()
        validation = judge(learn(evidence.history, one, held_out, {}))
        for weight in weights:
            score = validation.score(replace(first(validation, ranker), dense_weight=weight))
            kept = score > max((each[0] for each in tried), default=0.0)
            seconds = round(time.perf_counter() - began, 2)
            trials.append(Trial(f"network.{field}", value, score, seconds, kept))
            tried.append((score, validation, one, weight))
            began = time.perf_counter()

    for temperature in dict.fromkeys((config.temperature, *compared)):
        # scores grow as the temperature falls: each takes the weight that it likes
        attempt("temperature", temperature, replace(config, temperature=temperature), _WEIGHTS)
    if config.is_small(len(evidence.history), n_edges):
        for field, value in _of_small_shops(config, evidence.history.ordered):
            _, _, best, weight = max(tried, key=lambda each: each[0])
            attempt(field, value, replace(best, **{field: value}), (weight,))  # type: ignore[arg-type]
    _, validation, chosen, weight = max(tried, key=lambda each: each[0])
    return validation, chosen, replace(ranker, dense_weight=weight), trials


def _of_small_shops(config: NetworkConfig, ordered: bool) -> Iterator[tuple[str, float]]:
    """What else is tried where a network takes seconds, one field after another."""
    yield "epochs", 3 * config.epochs
    if not ordered:  # else the later items are hidden, however many they are
        yield "hidden_share", 0.5
    if config.layers:
        yield "layers", 0


def final_network(
    learn: Learn, known: Interactions, config: NetworkConfig, begun: Parameters, n_edges: int = 0
) -> DenseVectors:
    """The members over everything known; the first of a large shop goes on from `begun`."""
    most = 1 if len(known) > config.member_rows else 2
    n_members = config.members
    if not config.is_small(len(known), n_edges):
        n_members = min(n_members, most)
    seeds = range(config.seed, config.seed + n_members)
    members: list[tuple[NetworkConfig, Parameters]] = [
        (replace(config, seed=seed), {}) for seed in seeds
    ]
    if begun and len(known) > config.search_rows:  # to start it anew would cost as much again
        members[0] = (replace(config, epochs=config.refit_epochs), begun)
    vectors = side_by_side([learn(known, one, None, start) for one, start in members])
    return replace(vectors, parameters={})  # nothing goes on from here, and they are as large
