"""The dense half of the model as arrays, and the options of the graph network that learns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kgrec.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Options of the graph network."""

    enabled: bool = True
    """Whether the dense half is learned at all; the sparse half can stand alone."""
    size: int = 256
    """Length of a vector."""
    layers: int = 1
    """Rounds of message passing over the graph; one round is items to attributes and back."""
    epochs: int = 5
    """Passes over the users at most."""
    batch_size: int = 1024
    """Users a step; up to four times as many where an epoch would take more than 24 steps over the
    whole shop, fewer where it would take less than eight."""
    n_negatives: int = 4096
    """Items drawn a step, shared by its users; all of them where the shop has not many more."""
    popularity_power: float = 0.75
    """Negatives are drawn in proportion to popularity to this power; logQ corrects for it."""
    hidden_share: float = 0.3
    """Share of a user's items that is hidden and predicted from the rest."""
    suffix_share: float = 1.0
    """How often, where order is known, the later items are hidden instead of random ones."""
    decay: float = 0.8
    """Weight of an item against the one after it in a user's history, where order is known."""
    max_history: int = 500
    """Newest distinct items of a user that count."""
    temperature: float = 0.1
    """Divides the cosine of user and item."""
    temperatures: tuple[float, ...] = (0.15,)
    """Others that the search tries, where there are at most `search_rows` interactions."""
    members: int = 4
    """Networks of different seeds side by side, their scores averaged, up to `small_rows`
    interactions and edges; at most two up to `member_rows`, then one. Vectors are as many times
    as long."""
    small_rows: int = 100_000
    """Interactions and edges up to which the search also tries a network without layers, one
    trained three times as long, and one from which half of each history is hidden."""
    member_rows: int = 1_000_000
    """Interactions up to which there is more than one member."""
    search_rows: int = 400_000
    """Interactions up to which several networks are trained to compare them, and every final one
    from the start; where there are more, the first goes on from the search's."""
    refit_epochs: int = 2
    """Passes of a network that goes on from the search's."""
    learning_rate: float = 0.008
    """Of Adam, and of the rows of items that a step visits; falls in a straight line to zero."""
    weight_decay: float = 0.0
    """Of Adam (decoupled)."""
    identity_dropout: float = 0.1
    """Share of items a step that must do without identity and bias, as a cold item does."""
    graph_weight: float = 0.15
    """Weight of the graph's rows beside the interactions in the spectral start."""
    hub_power: float = 0.5
    """A neighbour counts in a mean by its degree to minus this power."""
    gate_start: float = 1.0
    """How much of each relation's mean is added at the start of training."""
    max_edges_per_step: int = 1_000_000
    """Edges that one propagation may visit; a larger graph is sampled anew each epoch, or each
    step where a step visits only the items of its batch."""
    sampled_items: int = 200_000
    """Items from which a step visits only those of its batch."""
    budget_bytes: int = 2 * 2**30
    """Memory that the tables of items may take; the vectors of a larger shop are shorter."""
    use_graph: bool = True
    """Ablation: whether the graph is seen, by the layers and by the spectral start."""
    use_text: bool = True
    """Ablation: whether the text embeddings are seen."""
    use_identity: bool = True
    """Ablation: whether items have vectors of their own beside text and graph."""
    patience: int = 2
    """Epochs without a better validation nDCG before training stops."""
    validation_users: int = 4000
    """Users at most that early stopping looks at."""
    device: str = "auto"
    """Where it is trained: `auto` is the GPU where there is one; else what torch calls it."""
    seed: int = 7
    """Of everything random here."""

    def is_small(self, n_rows: int, n_edges: int) -> bool:
        """Whether a shop of so many interactions and edges is small, see `small_rows`."""
        return n_rows + n_edges <= self.small_rows

    def visits_some(self, n_items: int) -> bool:
        """Whether a step visits only the items of its batch, see `sampled_items`."""
        return n_items >= self.sampled_items

    def within_budget(self, n_items: int) -> NetworkConfig:
        """These options, with a shorter vector where the tables of items would not fit.

        The length is then the largest multiple of 16, at least 16, with which n_items rows of
        both roles take at most `budget_bytes`.
        """
        fits = self.budget_bytes // (2 * 4 * max(n_items, 1))
        if self.size <= max(fits, 16):
            return self
        return replace(self, size=max(fits // 16 * 16, 16))

    @property
    def short_name(self) -> str:
        """What the search may change, as a folder of checkpoints is called."""
        return f"{self.temperature:g}-{self.epochs}-{self.hidden_share:g}-{self.layers}"

    def __post_init__(self) -> None:
        for name in ("size", "epochs", "batch_size", "n_negatives", "patience", "members",
                     "validation_users", "max_edges_per_step", "max_history", "sampled_items",
                     "budget_bytes"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"network.{name} is {getattr(self, name)}; it must be 1 or more")
        if min(self.temperatures, default=1) <= 0 or self.refit_epochs < 1:
            raise ConfigError("network.temperatures are above 0, network.refit_epochs at least 1")
        for name in ("temperature", "learning_rate", "decay"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"network.{name} is {getattr(self, name)}; it must be above 0")
        for name in ("layers", "weight_decay", "graph_weight", "popularity_power", "hub_power"):
            if getattr(self, name) < 0:
                raise ConfigError(f"network.{name} is {getattr(self, name)}; it must be 0 or more")
        for name in ("hidden_share", "suffix_share", "decay", "identity_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"network.{name} is {getattr(self, name)}; it must be in 0..1")

    def to_dict(self) -> dict[str, object]:
        """Every option as JSON has it, for the fingerprint of a checkpoint."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


Parameters = Mapping[str, Vectors]
"""What training moves, by name: the state that another training may go on from."""


@dataclass(frozen=True, slots=True)
class DenseVectors:
    """What the graph network learned: score(u, i) = (g_u W_g) . item_out_i + bias_i.

    A row of `item_out` has length 1 / temperature and `user_vectors` makes |g_u W_g| = 1, so the
    first term is the cosine of user and item over the temperature.
    """

    item_in: Vectors
    """What an item says about a user who has it, (n_items, size)."""
    item_out: Vectors
    """What an item is when offered, (n_items, size)."""
    w_g: Vectors
    """Takes user space to item space, (size, size)."""
    bias: Vectors
    """(n_items,), centred; 0 for items without training interactions."""
    entities: Mapping[str, Vectors] = field(default_factory=dict)
    """For each kind of attribute the mean of `item_out` over its items, scaled to unit length
    (zeros where it has none), (n, size): to search and explain with."""
    parameters: Parameters = field(default_factory=dict)
    """For a training that goes on from this one; not kept in a model folder."""

    def __post_init__(self) -> None:
        n, size = self.item_out.shape
        if self.item_in.shape != (n, size) or self.w_g.shape != (size, size):
            raise ShapeError(
                f"item_in {self.item_in.shape}, item_out {self.item_out.shape} and w_g "
                f"{self.w_g.shape} do not fit together"
            )
        if self.bias.shape != (n,):
            raise ShapeError(f"bias has shape {self.bias.shape}, there are {n} items")

    def user_vectors(self, history: csr_array) -> Vectors:
        """Users computed from their histories, no training needed.

        Args:
            history: Weights of each user's items, (n_users, n_items).

        Returns:
            g W_g, (n_users, size) float32, each of length 1; zero where the history is empty.

        Raises:
            ShapeError: The history is about another number of items.
        """
        # Not numpy's product: the threads of its BLAS go on spinning for a while after each call,
        # on the cores that FAISS is about to use.
        from kgrec.merge import dense_scores

        if history.shape[1] != len(self.item_in):
            raise ShapeError(
                f"the history has {history.shape[1]} items, the model {len(self.item_in)}"
            )
        summed = np.asarray(history.astype(np.float32) @ self.item_in, np.float32)
        turned = dense_scores(summed, np.ascontiguousarray(self.w_g.T))
        length = np.linalg.norm(turned, axis=1, keepdims=True)
        unit: Vectors = np.divide(turned, length, out=np.zeros_like(turned), where=length > 1e-12)
        return unit


def side_by_side(members: Sequence[DenseVectors]) -> DenseVectors:
    """Networks over the same items as one whose score is the mean of theirs.

    A user's vector is scaled as a whole, so a member counts by the length of its item_in; these
    are brought to the same mean length first, which makes the mean one of nearly equal weights.

    Args:
        members: At least one, each of its own size.
    """
    if len(members) == 1:
        return members[0]
    root = np.float32(np.sqrt(len(members)))
    sizes = np.cumsum([0, *(member.w_g.shape[0] for member in members)])
    w_g = np.zeros((sizes[-1], sizes[-1]), np.float32)
    for begin, end, member in zip(sizes[:-1], sizes[1:], members, strict=True):
        w_g[begin:end, begin:end] = member.w_g
    lengths = [np.linalg.norm(m.item_in @ m.w_g, axis=1).mean() for m in members]
    return DenseVectors(
        np.hstack([m.item_in / max(one, 1e-12) for m, one in zip(members, lengths, strict=True)]),
        np.hstack([member.item_out for member in members]) / root,
        w_g,
        np.mean([member.bias for member in members], axis=0, dtype=np.float32),
        {
            kind: np.hstack([member.entities[kind] for member in members]) / root
            for kind in members[0].entities
        },
    )
