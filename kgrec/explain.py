"""Why an item is in a list: the paths in the graph that join it to what the user has.

A path runs user -> history item -> (attribute | relation | other users) -> item: three edges at
most. Its weight, in 0..1, is the product of

- strength: for a shared attribute its rarity, log(n_items / degree) / log(n_items) (the IDF as a
  share of the largest possible); for a relation between items the same rarity of the recommended
  item among the relation's ends; for shared buyers the rarity of the item among the users times
  n / (n + 2) for n people; 0.5 where only the model's learned relation joins them;
- recency: 0.9 to the power of the steps back in the history (1 where the data has no order);
- contribution: the share of the history item in the largest contribution to the score, when given.

The best two paths of a relation come before the third of any, so that a list is varied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array

from kgrec.errors import ShapeError, UnknownIdError
from kgrec.graph import KnowledgeGraph
from kgrec.interactions import Interactions
from kgrec.paths import Items, Path_, Search, Titles, view

_MAX_HISTORY = 500
_DECAY = 0.9
_UNCOUNTED_SHARE = 0.05
_PER_RELATION = 2


def explain(
    shop_graph: KnowledgeGraph,
    history: Interactions,
    user: int,
    item: int,
    *,
    titles: Titles,
    limit: int = 5,
    contributions: Mapping[int, float] | None = None,
) -> list[Path_]:
    """Paths that join one user to one item; for many calls keep an `Explainer`.

    See `Explainer.explain` for the arguments.
    """
    explainer = Explainer(shop_graph, history)
    return explainer.explain(user, item, titles=titles, limit=limit, contributions=contributions)


class Explainer:
    """Sparse views of a graph and a history, built once, that answer for one user in milliseconds.

    Memory: about 16 bytes an edge and 10 bytes an interaction.

    Args:
        graph: The knowledge graph.
        history: What the users have, indices as in the graph.

    Raises:
        ShapeError: The history counts other items than the graph.
    """

    def __init__(self, graph: KnowledgeGraph, history: Interactions) -> None:
        if history.n_items != graph.n_items:
            raise ShapeError(
                f"the history has {history.n_items} items, the graph {graph.n_items}: "
                "take both from the same shop"
            )
        self.graph = graph
        self.history = history
        self._views = [v for r in graph.relations if (v := view(r, graph)) is not None]
        kept = history.weight > 0
        pairs = (history.item[kept], history.user[kept])
        shape = (history.n_items, max(history.n_users, 1))
        self._buyers: csr_array = coo_array((np.ones(len(pairs[0]), np.int8), pairs), shape).tocsr()
        self._buyers.sum_duplicates()

    def explain(
        self,
        user: int,
        item: int,
        *,
        titles: Titles,
        limit: int = 5,
        contributions: Mapping[int, float] | None = None,
    ) -> list[Path_]:
        """The best paths from a user to an item, best first.

        Args:
            user: Index of the user.
            item: Index of the recommended item.
            titles: A short human name of an item.
            limit: How many paths at most.
            contributions: Share of each history item in the score (item index -> x_u^T S at the
                recommended item, any unit); paths through items that contribute nothing sink, and
                a contribution that no path of the graph shows becomes a path of its own.

        Raises:
            UnknownIdError: The user or the item is not in the history's range.
        """
        if not 0 <= user < self.history.n_users:
            raise UnknownIdError(f"user {user} is not among the {self.history.n_users} users")
        rows = slice(int(self.history.start[user]), int(self.history.start[user + 1]))
        kept = self.history.weight[rows] > 0
        return self._paths(
            self.history.item[rows][kept].astype(np.int64),
            item,
            user,
            titles,
            limit,
            contributions,
            self.history.ordered,
        )

    def explain_items(
        self,
        items: Items,
        item: int,
        *,
        titles: Titles,
        limit: int = 5,
        contributions: Mapping[int, float] | None = None,
    ) -> list[Path_]:
        """The same for a raw history of somebody unknown: item indices, oldest first, (n,)."""
        return self._paths(np.asarray(items), item, None, titles, limit, contributions, True)

    def _paths(
        self,
        items: Items,
        item: int,
        user: int | None,
        titles: Titles,
        limit: int,
        contributions: Mapping[int, float] | None,
        ordered: bool,
    ) -> list[Path_]:
        if not 0 <= item < self.graph.n_items:
            raise UnknownIdError(f"item {item} is not among the {self.graph.n_items} items")
        held, recency = _distinct(items[items != item], ordered)
        if not len(held):
            return []
        contributions = contributions or {}
        weight = recency * _shares(held, contributions)
        search = Search(self.graph, held, weight, item, user, titles)
        paths = [path for v in self._views for path in search.through(v)]
        paths += search.shared_buyers(self._buyers)
        paths += search.learned(contributions, shown={path.hops[1].id for path in paths})
        return _varied(paths, limit)


def _distinct(items: Items, ordered: bool) -> tuple[Items, npt.NDArray[np.float64]]:
    """The last distinct items of a history, newest first, and the recency of each."""
    newest_first = items[::-1]
    _, first = np.unique(newest_first, return_index=True)
    held = newest_first[np.sort(first)][:_MAX_HISTORY].astype(np.int64)
    steps = np.arange(len(held), dtype=np.float64) * ordered
    return held, np.power(_DECAY, steps)


def _shares(held: Items, contributions: Mapping[int, float]) -> npt.NDArray[np.float64]:
    """Each history item's contribution as a share of the largest; ones when none is known."""
    given = np.array([max(contributions.get(i, 0.0), 0.0) for i in held.tolist()])
    if given.max() <= 0:
        return np.ones(len(held))
    shares: npt.NDArray[np.float64] = np.maximum(given / given.max(), _UNCOUNTED_SHARE)
    return shares


def _varied(paths: list[Path_], limit: int) -> list[Path_]:
    """The heaviest paths, a third of the same relation only when nothing else is left."""
    seen: Counter[str] = Counter()
    first: list[Path_] = []
    later: list[Path_] = []
    for path in sorted(paths, key=lambda path: (-path.weight, path.sentence)):
        relation = path.hops[-1].relation.strip("^")
        seen[relation] += 1
        (first if seen[relation] <= _PER_RELATION else later).append(path)
    chosen = (first + later)[:limit]
    return sorted(chosen, key=lambda path: (-path.weight, path.sentence))
