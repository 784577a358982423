"""Labelled pairs: how they are cut, who may see which labels, and the test part behind one call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from kgrec.atomic import claim, replace_file
from kgrec.baselines import users_of_item
from kgrec.benchmark.pair_scoring import Labelled, PairRule
from kgrec.benchmark.scoring import popularity_groups
from kgrec.benchmark.sealed import Sealed
from kgrec.errors import ConfigError, DataError, KgrecError
from kgrec.evaluate import activity_groups
from kgrec.interactions import Interactions
from kgrec.shop import Shop
from kgrec.split import Parts, SplitConfig
from kgrec.vocabulary import Indices

SEARCH_SHARE = 0.1
"""Of the ones to train on: what the search for our model's weights validates on."""

BOTH_SEEN = "user and item both trained on"
"""Group of the pairs on which nothing that training lacks tells a label."""

NOTES = (
    "Every row is treated alike: it is fitted on the ones of the training part alone; a logistic "
    "regression (standardised features and their squares, C = 1) over its scores, the logarithm "
    "of the item's number of ones in the training part is fitted on the validation part; the test "
    "part is scored once. Random has its random score alone, popularity has none. Every row is "
    "tuned by the AUC of the validation part (five folds of it), our model while a tenth of the "
    "ones to train on is kept apart to end the training of its networks by.",
    "Popularity alone is this strong because the pairs labelled 0 were drawn evenly from all "
    "items that a user lacks: most of them are items that hardly anybody has.",
    "Left unused by every row is an artefact of how such sets are made: a user has as many zeros "
    "as ones, so what the training part lacks of one label the test part has more of, and a "
    "user's share of ones in training tells the labels of the test part without any knowledge of "
    "items. No row sees how many pairs labelled 0 a user or an item has.",
    "A remnant of that artefact cannot be taken away. An item is in such a set because somebody "
    "has it, so if the training part has no one of it, the held-out parts do; likewise a user. No "
    "row is given either as a feature, but a count or a score of zero tells it. The group of pairs "
    "whose user and item both have ones in the training part is free of it.",
    "AUC, F1 and accuracy (both at a probability of 0.5) are of all test pairs together, ties "
    "counting half. Pairs of one user hang together, so intervals and tests are by user: the "
    "figures of a user are the user's influence on the whole (for AUC DeLong et al. 1988, by "
    "cluster as in Obuchowski 1997), whose mean is the figure itself.",
)
"""What a report on labelled pairs says of them."""


@dataclass(frozen=True, slots=True)
class PairCut:
    """Labelled pairs in three parts; the first as interactions, for models know ones alone."""

    parts: Parts
    """Of the ones to train on: those to fit on, and those to choose our model's weights by."""
    validation: Labelled
    test: Labelled
    n_repeats: int
    """Rows left out because their pair was there already."""


@dataclass(frozen=True, slots=True)
class VisiblePairs:
    """What the process of a row reads of the labels."""

    validation: Labelled
    user: Indices
    """Users of the test pairs, (n,)."""
    item: Indices
    """Their items, (n,)."""


def cut_pairs(shop: Shop, config: SplitConfig) -> PairCut:
    """Cuts labelled pairs at random, ones and zeros alike.

    Args:
        shop: Rows of the behaviour to predict are the ones, all others the zeros.
        config: `test_share`, `validation_share` of what is left, and the seed.

    Raises:
        ConfigError: The split is not random, or keeps items out.
        DataError: One of the labels is missing.
    """
    if config.method != "random" or config.cold_item_share:
        raise ConfigError("labelled pairs are cut at random: [split] method = 'random', no items")
    rows = shop.interactions
    one = rows.is_target()
    key = rows.user.astype(np.int64) * rows.n_items + rows.item
    order = np.lexsort((~one, key))  # of a pair with both labels the one stays
    kept = order[np.unique(key[order], return_index=True)[1]]
    if one[kept].all() or not one[kept].any():
        raise DataError("labelled pairs need both labels; name the ones as [schema] target")
    generator = np.random.default_rng(config.seed)
    drawn = generator.permutation(kept)
    n_test = round(config.test_share * len(kept))
    n_validation = round(config.validation_share * (len(kept) - n_test))
    test, validation, train = np.split(drawn, [n_test, n_test + n_validation])
    positives = np.zeros(len(rows), np.bool_)
    positives[train[one[train]]] = True
    return PairCut(
        _for_search(rows.where(positives), generator),
        Labelled.of(rows, validation),
        Labelled.of(rows, test),
        len(rows) - len(kept),
    )


def _for_search(rows: Interactions, generator: np.random.Generator) -> Parts:
    """A random tenth to choose by, but never the first row of a user."""
    may = np.ones(len(rows), np.bool_)
    may[rows.start[:-1][np.diff(rows.start) > 0]] = False
    held = may & (generator.random(len(rows)) < SEARCH_SHARE)
    return Parts(rows.where(~held), rows.where(held), None, np.zeros(0, np.int64))


def write_pairs(path: Path, pairs: PairCut) -> None:
    """Writes the validation pairs with their labels, the test pairs without."""
    arrays: Mapping[str, npt.NDArray[np.generic]] = {
        "validation.user": pairs.validation.user,
        "validation.item": pairs.validation.item,
        "validation.one": pairs.validation.one,
        "user": pairs.test.user,
        "item": pairs.test.item,
    }
    with claim(path), replace_file(path) as beside, beside.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)


def read_pairs(path: Path) -> VisiblePairs:
    """What `write_pairs` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        validation = Labelled(*(arrays[f"validation.{name}"] for name in ("user", "item", "one")))
        return VisiblePairs(validation, arrays["user"], arrays["item"])


class SealedPairs(Sealed):
    """Holds the labels of the test pairs and scores files of scores; counts as `SealedTest`.

    Args:
        shop: Whose ids files are written in.
        pairs: The cut.
        openings: JSON file of the count; None counts in memory alone.

    Raises:
        KgrecError: The test part lacks a label, or `openings` counts another test part.
    """

    def __init__(self, shop: Shop, pairs: PairCut, *, openings: Path | None = None) -> None:
        test, known = pairs.test, pairs.parts.known
        if test.one.all() or not test.one.any():
            raise KgrecError("the test part holds one label alone; raise [split] test_share")
        users, items = (
            activity_groups(np.diff(known.start)),
            popularity_groups(users_of_item(known)),
        )
        groups = {f"users: {name}": mask[test.user] for name, mask in users.items()}
        groups |= {f"items: {name}": mask[test.item] for name, mask in items.items()}
        groups[BOTH_SEEN] = (np.diff(known.start)[test.user] > 0) & ~items["cold"][test.item]
        digest = hashlib.sha256(test.user.tobytes() + test.item.tobytes() + test.one.tobytes())

        def table() -> pl.DataFrame:
            user_id, item_id = shop.users.take(test.user), shop.items.take(test.item)
            label = test.one.astype(np.int8)
            return pl.DataFrame({"user_id": user_id, "item_id": item_id, "label": label})

        super().__init__(
            shop, np.unique(test.user).astype(np.int64), PairRule(test, groups), table,
            digest.hexdigest(), n_pairs=len(test), n_repeats=pairs.n_repeats, openings=openings,
        )  # fmt: skip
