"""Pairs of texts that should lie close: items bought together, titles and their attributes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from kgrec.interactions import Interactions
from kgrec.shop import Shop

Pairs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TextPairs:
    """Distinct texts, and which two of them belong together."""

    texts: tuple[str, ...]
    """Distinct, not empty, (n_texts,)."""
    together: Pairs
    """Positions of the texts of two items bought together, (n_together, 2), each pair once."""
    attribute: Pairs
    """Positions of a title and of one of its attributes, (n_attribute, 2), each pair once."""

    @property
    def all(self) -> Pairs:
        """Both kinds, (n, 2); those bought together first."""
        return np.concatenate([self.together, self.attribute])


def text_pairs(
    shop: Shop, train: Interactions, *, seed: int, cap: int, n_together: int, n_attribute: int
) -> TextPairs:
    """Pairs for contrastive fine-tuning, drawn from the training interactions and the catalogue.

    Args:
        shop: Its `text` is not None.
        train: Training interactions only; what is held out must not be here.
        seed: Of the draw.
        cap: Pairs an item, or an attribute's value, may stand in, >= 1, so that what everyone buys
            does not come to lie close to everything.
        n_together: At most so many pairs of items bought together.
        n_attribute: At most so many pairs of a title and an attribute.
    """
    assert shop.text is not None
    generator = np.random.default_rng([seed, 1])
    text = shop.text.fill_null("").str.strip_chars()
    bought = bought_together(train, generator)
    titled = title_attributes(shop)
    n = len(text)
    pool = pl.concat([text, titled["title"], titled["attribute"]], rechunk=True)
    texts, code = _codes(pool)
    together = _capped(code[:n][bought], cap, n_together, texts, generator)
    titles = np.stack([code[n : n + len(titled)], code[n + len(titled) :]], axis=1)
    attribute = _capped(titles, cap, n_attribute, texts, generator)
    return TextPairs(tuple(texts), together, attribute)


def bought_together(train: Interactions, generator: np.random.Generator) -> Pairs:
    """Items next to each other in a user's history, (n, 2), each unordered pair once.

    Where histories have no order, each is shuffled first: any two of its items are as near.
    """
    rows = train.where(train.is_target())
    item = rows.item.astype(np.int64)
    if not rows.ordered:
        item = item[np.lexsort((generator.random(len(rows)), rows.user))]
    same = rows.user[1:] == rows.user[:-1]
    pairs = np.stack([item[:-1][same], item[1:][same]], axis=1)
    pairs = np.sort(pairs, axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def title_attributes(shop: Shop) -> pl.DataFrame:
    """Each item's title beside each of its attributes in the graph and its other free texts.

    Returns:
        Columns `title` and `attribute`, String; empty ones are left for the caller to drop.
    """
    columns = shop.item_table.columns
    title_column = next((c for c in ("title", "name", "keywords") if c in columns), None)
    titles = shop.text if title_column is None else shop.item_table[title_column]
    assert titles is not None
    titles = titles.cast(pl.String).fill_null("").str.strip_chars().alias("title")
    found = [pl.DataFrame({"title": titles.head(0), "attribute": titles.head(0)})]
    for relation in shop.graph.relations:
        if relation.head != "item" or relation.tail in ("item", "user", "entity"):
            continue
        values = shop.graph.nodes[relation.tail].take(relation.edges[1])
        found.append(pl.DataFrame({"title": titles.gather(relation.edges[0]), "attribute": values}))
    for column in columns:
        if column in ("item_id", title_column) or shop.item_table[column].dtype != pl.String:
            continue
        values = shop.item_table[column].fill_null("")
        if (values.str.len_chars() > 40).sum() * 2 > len(values):  # prose, not a label
            found.append(pl.DataFrame({"title": titles, "attribute": values}))
    return pl.concat(found).with_columns(pl.col("attribute").str.strip_chars())


def _codes(texts: pl.Series) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The distinct texts in order of appearance, and each text's position among them."""
    table = texts.alias("text").to_frame()
    distinct = table.unique(maintain_order=True).with_row_index("code")
    coded = table.join(distinct, on="text", how="left", maintain_order="left")
    return distinct["text"].to_list(), coded["code"].to_numpy().astype(np.int64)


def _capped(
    pairs: Pairs, cap: int, limit: int, texts: list[str], generator: np.random.Generator
) -> Pairs:
    """At most `limit` of the pairs of two different texts, no text in many more than `cap`."""
    empty = np.array([not text for text in texts], np.bool_)
    keep = (pairs[:, 0] != pairs[:, 1]) & ~empty[pairs].any(1)
    pairs = generator.permutation(np.unique(pairs[keep], axis=0))
    for side in (0, 1):
        pairs = pairs[_occurrence(pairs[:, side]) < cap]
    return pairs[:limit]


def _occurrence(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often each value stood before, (n,)."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    first = np.searchsorted(ranked, ranked)
    times = np.empty(len(values), np.int64)
    times[order] = np.arange(len(values)) - first
    return times
