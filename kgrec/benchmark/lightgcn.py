"""LightGCN by PyTorch Geometric, its users found again by what they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.benchmark.model import Choice, Material, Range, Scores
from kgrec.benchmark.recipe import ALL, Floats, Options, Recipe, break_ties, popularity_of
from kgrec.history import history_matrix, scale_columns, scale_rows
from kgrec.interactions import Interactions

BATCHES = 10
"""Most batches an epoch is cut into: each costs a pass over the whole graph."""
LEAST_BATCH = 8192

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class LightGCNScorer:
    """score(u, i) = z_u . z_i, z the mean of a node's vectors over all layers.

    The published model has a trained row e_u for each user. Here a user comes as a history, and
    z_u = (e_u + sum over items i of the history of the layers of i below the last / sqrt(d_u d_i))
    / (layers + 1): for a user of the fitted data that is the model as published, since e_u is
    found again by the set of their items (users with the same set share the mean of their rows).
    For any other history e_u is zero, which leaves what the graph says of them.
    """

    rows: Floats
    """e_u by distinct set of items, (n_sets, size)."""
    keys: Keys
    """Key of each set, ascending, (n_sets,)."""
    item_keys: Keys
    """What each item adds to a key, (n_items,)."""
    passed: Floats
    """What an item passes on: its layers below the last over sqrt(d_i), (n_items, size)."""
    items: Floats
    """z_i, (n_items, size)."""
    n_layers: int
    popularity: Floats

    def scores(self, history: Interactions) -> Scores:
        """As `kgrec.benchmark.model.Scorer` has it."""
        had = _had(history)
        users = scale_rows(had, 1 / np.sqrt(np.maximum(np.diff(had.indptr), 1))) @ self.passed
        keys = _keys_of(had, self.item_keys)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        known = (self.keys[at] == keys) & (np.diff(had.indptr) > 0)
        users[known] += self.rows[at[known]]
        scores = (users / (self.n_layers + 1)).astype(np.float32) @ self.items.T
        return break_ties(scores, self.popularity)


def _had(history: Interactions) -> sp.csr_array:
    had = history_matrix(history, max_items=ALL)
    had.data[:] = 1
    return had


def _keys_of(had: sp.csr_array, item_keys: Keys) -> Keys:
    """The sum of the items' keys modulo 2^64, the same in whatever order they came."""
    total = np.zeros(had.nnz + 1, np.uint64)  # not joined to a 0: that would make them floats
    np.cumsum(item_keys[had.indices], out=total[1:])
    return np.asarray(total[had.indptr[1:]] - total[had.indptr[:-1]])


def _normalised(had: sp.csr_array) -> sp.csr_array:
    """The bipartite graph's adjacency over roots of degrees, users first, symmetric."""
    users = np.maximum(np.diff(had.indptr), 1)
    items = np.maximum(np.bincount(had.indices, minlength=had.shape[1]), 1)
    links = scale_columns(scale_rows(had, 1 / np.sqrt(users)), 1 / np.sqrt(items))
    return sp.csr_array(sp.block_array([[None, links], [links.T, None]], format="csr"))


def build(had: sp.csr_array, size: int, n_layers: int) -> tuple[Any, Any]:
    """The library's model and the graph it passes messages over.

    Its layers take a product with the whole normalised matrix, which is what they compute edge by
    edge otherwise, some ten times slower.
    """
    import torch
    from torch_geometric.nn import LightGCN

    from kgrec.propagate import SparseMatrix

    class Layer(torch.nn.Module):
        def forward(self, x: Any, edges: Any, _: Any = None) -> Any:
            return edges @ x

    model = LightGCN(sum(had.shape), size, n_layers)
    model.convs = torch.nn.ModuleList([Layer() for _ in range(n_layers)])
    return model, SparseMatrix(_normalised(had))


def _train(had: sp.csr_array, seed: int, options: Options) -> list[Floats]:
    """Vectors of all nodes, users first, layer by layer."""
    import torch

    model, edges = build(had, options["size"], options["layers"])
    generator = np.random.default_rng(seed)
    weight = model.embedding.weight
    torch.nn.init.xavier_uniform_(weight, generator=torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=options["learning_rate"], fused=True)
    user, item = had.nonzero()
    known = user.astype(np.int64) * had.shape[1] + item  # ascending: columns of a row are
    n_batches = max(1, min(BATCHES, len(user) // LEAST_BATCH))
    for _ in range(options["epochs"] if len(user) else 0):
        for chosen in np.array_split(generator.permutation(len(user)), n_batches):
            negative = _unseen(known, had.shape[1], user[chosen], generator)
            nodes = np.concatenate(
                [user[chosen], had.shape[0] + item[chosen], had.shape[0] + negative]
            )
            z = model.get_embedding(edges)
            # rows picked by a product: its gradient adds up in one order on several threads
            u, p, n = (_pick(nodes, len(z)) @ z).chunk(3)
            ids = torch.from_numpy(np.unique(nodes))
            loss = model.recommendation_loss(
                (u * p).sum(1), (u * n).sum(1), ids, options["regularization"]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        layers = [weight.detach()]
        for _ in range(options["layers"]):
            layers.append(edges @ layers[-1])
    return [layer.numpy() for layer in layers]


def _pick(node: npt.NDArray[np.int64], n: int) -> Any:
    from kgrec.propagate import SparseMatrix

    ones = np.ones(len(node), np.float32)
    return SparseMatrix(sp.csr_array((ones, node, np.arange(len(node) + 1)), (len(node), n)))


def _unseen(
    known: npt.NDArray[np.int64],
    n_items: int,
    user: npt.NDArray[np.int64],
    generator: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """An item that each user lacks, drawn evenly; a few tries, then whatever came.

    Args:
        known: user * n_items + item of everything had, ascending.
        n_items: How many there are.
        user: Whose items, (n,).
        generator: Draws.
    """
    drawn = generator.integers(0, n_items, len(user))
    for _ in range(5):
        key = user * n_items + drawn
        again = known[np.minimum(np.searchsorted(known, key), len(known) - 1)] == key
        drawn[again] = generator.integers(0, n_items, int(again.sum()))
    return drawn


def _fit(history: Interactions, material: Material, options: Options) -> LightGCNScorer:
    had = _had(history)
    layers = _train(had, material.seed, options)
    n, n_layers = history.n_users, options["layers"]
    item_keys = np.random.default_rng(0).integers(0, 2**64, history.n_items, dtype=np.uint64)
    keys, place = np.unique(_keys_of(had, item_keys), return_inverse=True)
    share = 1 / np.bincount(place)
    mean = sp.csr_array((share[place], (place, np.arange(n))), shape=(len(keys), n))
    degree = np.maximum(np.bincount(had.indices, minlength=history.n_items), 1)
    below = np.sum([layer[n:] for layer in layers[:-1]], axis=0)
    return LightGCNScorer(
        rows=np.asarray(mean @ layers[0][:n], np.float32),
        keys=keys,
        item_keys=item_keys,
        passed=np.asarray(below / np.sqrt(degree)[:, None], np.float32),
        items=np.sum([layer[n:] for layer in layers], axis=0) / np.float32(n_layers + 1),
        n_layers=n_layers,
        popularity=popularity_of(history),
    )


LIGHTGCN = Recipe(
    name="LightGCN",
    source="He et al. 2020; model and loss by PyTorch Geometric",
    random=True,
    options={
        "size": Choice((32, 64, 128)),
        "layers": Choice((1, 2, 3)),
        "learning_rate": Range(0.002, 0.1, log=True),
        "epochs": Choice((10, 20, 40, 80)),
        "regularization": Range(1e-7, 1e-2, log=True),
    },
    defaults={
        "size": 64,
        "layers": 3,
        "learning_rate": 0.02,
        "epochs": 40,
        "regularization": 1e-5,
    },
    prepare=_fit,
    finish=lambda fitted, _: fitted,
)
