"""The test part behind one call: nobody who fits a model ever holds it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from kgrec.atomic import claim, replace_file
from kgrec.baselines import seen_items
from kgrec.benchmark.scoring import Scored, rule_of
from kgrec.errors import KgrecError
from kgrec.interactions import Interactions
from kgrec.shop import Shop
from kgrec.split import Method, Parts
from kgrec.vocabulary import Indices, Vocabulary

Mask = npt.NDArray[np.bool_]


class Scoring(Protocol):
    """What is scored against, and how."""

    def score(self, path: Path, users: Vocabulary, items: Vocabulary) -> Scored:
        """Scores a file of ids and scores."""


class Sealed:
    """Gives away who is tested, and scores files; every opening is counted.

    An opening is a file that was scored. Scoring the same file of the same row and seed again (a
    benchmark that goes on after it was stopped) tells nothing new and counts once; another model
    under the same name counts again.

    Args:
        shop: Whose ids files are written in.
        users: Who is tested, (n,).
        rule: Knows the test part.
        truth: Makes the table of what was held out.
        sha256: Of the test part.
        n_pairs: How large it is.
        n_repeats: Rows of it that do not count.
        openings: JSON file of the count; None counts in memory alone.
        fold: Names the fold in the count.

    Raises:
        KgrecError: `openings` counts another test part.
    """

    def __init__(
        self,
        shop: Shop,
        users: Indices,
        rule: Scoring,
        truth: Callable[[], pl.DataFrame],
        sha256: str,
        *,
        n_pairs: int,
        n_repeats: int,
        openings: Path | None = None,
        fold: int | None = None,
    ) -> None:
        self.users, self.n_pairs, self.n_repeats, self.fold = users, n_pairs, n_repeats, fold
        self.sha256 = sha256
        self._users, self._items, self._rule = shop.users, shop.items, rule
        self.truth = truth
        """What was held out, for whoever scores with another tool."""
        self._file, self._opened = openings, dict[str, list[str]]()
        self._read_openings()

    def score(self, row: str, seed: int, lists: Path) -> Scored:
        """Scores a file and counts the opening.

        Args:
            row: The model.
            seed: Its seed (for a fold, that of the fold).
            lists: Parquet with user_id, item_id, score (and rank, for lists).

        Raises:
            DataError: It is not about these users and items.
        """
        scored = self._rule.score(lists, self._users, self._items)
        what = f"seed {seed}" if self.fold is None else f"fold {self.fold}"
        opened = self._opened.setdefault(f"{row} {what}", [])
        if scored.sha256 not in opened:
            opened.append(scored.sha256)
            self._write_openings()
        return scored

    @property
    def openings(self) -> dict[str, int]:
        """How many sets of lists were scored, by row and seed."""
        return {name: len(hashes) for name, hashes in self._opened.items()}

    def _key(self) -> str:
        return "test" if self.fold is None else f"test of fold {self.fold}"

    def _read_openings(self) -> None:
        if self._file is None or not self._file.is_file():
            return
        table = json.loads(self._file.read_text("utf-8"))
        if table.get(self._key(), self.sha256) != self.sha256:
            raise KgrecError(
                f"{self._file} counts the openings of another test part (other data, or another "
                "split); choose another --out, or delete that folder"
            )
        mine = "fold " if self.fold is None else f" fold {self.fold}"
        for name, hashes in table.get("lists", {}).items():
            if name.endswith(mine) or (self.fold is None and " fold " not in name):
                self._opened[name] = hashes

    def _write_openings(self) -> None:
        if self._file is None:
            return
        with claim(self._file), replace_file(self._file) as beside:
            table = {}
            if self._file.is_file():
                table = json.loads(self._file.read_text("utf-8"))
            lists = table.get("lists", {}) | self._opened
            table |= {self._key(): self.sha256, "lists": lists}
            table["openings"] = {name: len(hashes) for name, hashes in lists.items()}
            beside.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


class SealedTest(Sealed):
    """Holds what users are to get, and scores lists.

    Args:
        shop: Whose ids lists are written in.
        parts: The cut, test part included.
        ks: Depths of the metrics.
        method: How the data was cut, which decides what a repeat is; see `check_leak`.
        openings: JSON file of the count; None counts in memory alone.
        fold: Names the fold in the count, and sets metrics of cold and warm items apart.

    Raises:
        KgrecError: Nothing is held out, the cut leaks, or `openings` counts another test part.
    """

    def __init__(
        self,
        shop: Shop,
        parts: Parts,
        ks: Sequence[int],
        *,
        method: Method,
        openings: Path | None = None,
        fold: int | None = None,
    ) -> None:
        known = parts.known
        if parts.test is None or not len(parts.test):
            raise KgrecError("the split held nothing out, so there is nothing to test on")
        pairs, n_repeats = new_pairs(parts.test, known)
        if method == "given":
            check_leak(shop, parts.test, known)
        users: Indices = np.flatnonzero(np.diff(pairs.indptr)).astype(np.int64)
        if not len(users):
            raise KgrecError("every held-out item is in its user's history already")
        truth = sparse.csr_array(pairs[users])
        cold = None if fold is None else parts.cold_items
        digest = hashlib.sha256(users.tobytes())
        for array in (truth.indices, truth.indptr):
            digest.update(array.astype(np.int64).tobytes())

        def table() -> pl.DataFrame:
            pair = truth.tocoo()
            user_id, item_id = shop.users.take(users[pair.row]), shop.items.take(pair.col)
            return pl.DataFrame({"user_id": user_id, "item_id": item_id})

        super().__init__(
            shop, users, rule_of(known, truth, users, ks, cold), table, digest.hexdigest(),
            n_pairs=int(truth.nnz), n_repeats=n_repeats, openings=openings, fold=fold,
        )  # fmt: skip


def new_pairs(held_out: Interactions, known: Interactions) -> tuple[sparse.csr_array, int]:
    """Held-out items that a list could hold, (n_users, n_items), and how many it could not.

    Lists leave out what a user has, so an item that was had before cannot be hit.
    """
    truth = seen_items(held_out)
    new = sparse.csr_array(truth - truth.multiply(seen_items(known)))
    new.eliminate_zeros()
    new.sort_indices()
    return new, int(truth.nnz - new.nnz)


def check_leak(shop: Shop, test: Interactions, known: Interactions) -> None:
    """Refuses a test part that came with the data and is partly in the training part.

    Where the cut was made here, a pair in both is somebody who bought the same thing twice, and
    is left out and counted; where the data came cut, it is a test pair that training has seen.

    Raises:
        KgrecError: How many there are, and one of them by its ids.
    """
    both = sparse.csr_array(seen_items(test).multiply(seen_items(known))).tocoo()
    n = int(np.count_nonzero(both.data))
    if n:
        user, item = shop.users.ids[int(both.row[0])], shop.items.ids[int(both.col[0])]
        raise KgrecError(
            f"the split leaks: {n:,} test pairs are in the training or validation part too, such "
            f"as user '{user}' with item '{item}'; take them out of one of the two, or set "
            "[split] method to leave-last-out, time or random"
        )


def visible(parts: Parts) -> Parts:
    """The parts without the test part: all that whoever fits a model is given."""
    return replace(parts, test=None, later=None)
