"""The whole chain on one screen: tables in, recommender out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from kgrec.config import Config
from kgrec.counts import gather
from kgrec.device import pick_device
from kgrec.engine import LOCAL, Engine
from kgrec.fit_report import Clock, fit_report
from kgrec.interactions import Interactions
from kgrec.item_index import ItemIndex
from kgrec.network import DenseVectors, NetworkConfig, Parameters
from kgrec.network_search import best_network, final_network
from kgrec.network_training import train_network
from kgrec.ranker import fit_ranker, popularity_vectors
from kgrec.recommender import Recommender
from kgrec.shop import Shop
from kgrec.split import Parts, of_some_users, split
from kgrec.text import embed_items
from kgrec.tune import Trial, search
from kgrec.validation import Criterion
from kgrec.work import WorkFolder


def fit(
    shop: Shop,
    config: Config | None = None,
    *,
    parts: Parts | None = None,
    out: Path | None = None,
    cache: Path | None = None,
    criterion: Criterion | None = None,
    engine: Engine = LOCAL,
) -> Recommender:
    """Fits every stage on the training part, tunes on validation, then fits again on both.

    Args:
        shop: What `kgrec.load` returned.
        config: Options of every stage.
        parts: Cut by the caller, who may keep the test part; else cut as `config.split` says.
        out: The model folder to write. Checkpoints lie beside it until it is whole, so that a
            fit that was killed goes on where it was.
        cache: A folder that keeps text embeddings between fits.
        criterion: What the search maximises instead of nDCG on the validation part.
        engine: Encodes texts, trains the network and solves the columns of S; the model is the
            same on every engine, to the last byte where one process trains.

    Raises:
        KgrecError: The data or an option does not allow it; nothing half-written is left.
    """
    config = (config or Config()).seeded()
    for stage in ("text", "network", "index"):  # told now, not when its turn has come
        pick_device(getattr(config, stage).device, f"{stage}.device")
    clock = Clock()
    with WorkFolder(out) as work:
        parts = parts or split(shop, config.split)
        text = clock("text", partial(embed_items, shop, parts.train, config.text, cache, engine))

        def learn(
            rows: Interactions, one: NetworkConfig, part: Interactions | None, begun: Parameters
        ) -> DenseVectors:
            stage = f"final-{one.seed}" if part is None else f"search-{one.short_name}"
            return train_network(
                rows, shop.graph, text, one,
                validation=part, checkpoint=work.folder(stage), start=begun, engine=engine,
            )  # fmt: skip

        ranking, network, trials = config.ranker, config.network, list[Trial]()
        begun: Parameters = {}
        n_edges = shop.graph.n_edges
        if ranking.search and len(parts.validation):
            some = of_some_users(parts, ranking.sample_rows, config.seed)
            evidence = clock(
                "counts", lambda: gather(some.train, shop.graph, text, ranking, engine)
            )
            has_cold = len(parts.cold_items) > 0
            validation, network, ranking, trials = clock(
                "graph network",
                lambda: best_network(
                    learn,
                    evidence,
                    some.validation,
                    network,
                    ranking,
                    has_cold,
                    criterion,
                    n_edges,
                ),
            )
            ranking, tried = clock("search", lambda: search(validation, ranking, len(trials)))
            trials += tried
            if some is parts and ranking.dense_weight:  # else it has not seen most users
                begun = validation.dense.parameters
            del evidence, validation, some
        known, test, later, cold, sizes = (
            parts.known, parts.test, parts.later, parts.cold_items, parts.sizes
        )  # fmt: skip
        del parts  # the rows once more, which a large shop has no room for
        evidence = clock("counts", lambda: gather(known, shop.graph, text, ranking, engine))
        dense = popularity_vectors(evidence.degree)
        if network.enabled and ranking.dense_weight:
            dense = clock(
                "graph network", lambda: final_network(learn, known, network, begun, n_edges)
            )
        ranker = clock("ranker", lambda: fit_ranker(evidence, dense, ranking))
        index = clock("index", lambda: ItemIndex.build(ranker.item_vectors, config.index))
        recommender = Recommender(
            items=shop.items,
            users=shop.users,
            item_table=shop.item_table,
            graph=shop.graph,
            history=known,
            held_out=test,
            later=later,
            cold_items=cold,
            ranker=ranker,
            index=index,
            config=replace(config, ranker=ranking, network=network),
            fit_report=fit_report(clock, trials, index, ranker, network, known, sizes),
        )
        if out is not None:
            recommender.save(out)
    return recommender
