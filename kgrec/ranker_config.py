"""Options of the ranker: weights and exponents of both blocks of W."""

from __future__ import annotations

from dataclasses import dataclass

from kgrec.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerConfig:
    """Weights and exponents of both blocks; those that `tune` names are searched on validation."""

    search: bool = True
    """Whether the search on validation may move the values below."""
    trials: int = 60
    """Most evaluations that the search may take."""
    sample_rows: int = 5_000_000
    """Interactions that the search looks at; of a larger shop, those of a sample of its users."""
    search_items: int = 60_000
    """Items that the search ranks held-out ones among; of a larger catalogue, a random sample, so
    that only its columns of S are solved."""
    metric_k: int = 10
    """The search maximises nDCG at this length."""
    sparse: bool = True
    """Whether there is a block S at all (off for an ablation)."""
    n_neighbours: int = 100
    """Most entries in a column of S; fewer where all columns of all views together would have more
    than twice `most_pairs`."""
    most_pairs: int = 200_000_000
    """Pairs of items that each kind of evidence may hold, 8 bytes each: bounds memory. Of more each
    item keeps its best, and attributes that too many items share are left out."""
    most_counted: int = 10_000_000_000
    """Pairs of items that the interactions of all users may make while they are counted: bounds
    time. Of more the newest of each user count."""
    search_neighbours: int = 40
    """The same while the search compares configurations, which makes it several times cheaper."""
    max_history: int = 500
    """Newest interactions of a user that count; fewer are counted in pairs where all users
    together would make more than `most_counted`."""
    ridge: float = 30.0
    """Ridge penalty of an item seen once, > 0."""
    degree_power: float = 0.25
    """The penalty grows with an item's number of users to this power."""
    output_power: float = 0.0
    """Scores of an item fall with its number of users to this power."""
    decay: float = 0.7
    """Weight of an interaction falls by this factor a step back, in (0, 1]."""
    behaviour_decay: float = 0.97
    """As `decay`, in the views of the other behaviours."""
    sequence_weight: float = 1.0
    """Weight of what came next after each decayed history, beside pairs that merely share a
    user."""
    window: int = 20
    """Rows that a history so counted reaches back; fewer where all together would make more pairs
    than `most_counted`."""
    attribute_weight: float = 3.0
    """Weight of the attribute rows beside the interactions in the ridge."""
    relation_weight: float = 3.0
    """Weight of item-item and item-entity relations."""
    text_weight: float = 3.0
    """Weight of text neighbours."""
    last_weight: float = 0.3
    """Weight of the directed block of the newest basket."""
    last_shrink: float = 10.0
    """Transitions out of an item are divided by their number plus this."""
    cross_weight: tuple[float, ...] = ()
    """Weight of the ridge from each other behaviour to the one to predict, in the order of
    `view_names`; 0.3 where none is given."""
    own_weight: tuple[float, ...] = ()
    """Weight of the item itself once met by another behaviour (carted, not bought), likewise; where
    none is given, three times the behaviour's weight beside that of the heaviest."""
    own_power: float = 0.5
    """The item itself counts by its rate of conversion to this power: how many of those who met
    it by the other behaviour went on to the one to predict."""
    dense_weight: float = 0.03
    """Weight of the dense half."""

    dense_decay: float = 0.9
    """As `decay`, where the dense half computes the user's vector."""
    cold_scale: float = 1.0
    """Factor on what S gives an item that nobody had yet."""
    cold_bias: float = 0.0
    """Bias of such an item in the dense half, where 0 is that of a warm item on the mean."""

    def __post_init__(self) -> None:
        decays = self.decay, self.behaviour_decay
        if self.ridge <= 0 or not all(0 < decay <= 1 for decay in decays):
            raise ConfigError(
                f"ranker.ridge is {self.ridge}, ranker.decay and behaviour_decay {decays}; "
                "the first is above 0, the others in (0, 1]"
            )
        counts = self.n_neighbours, self.trials, self.sample_rows, self.search_items
        if min(*counts, self.most_pairs, self.most_counted) < 1:
            raise ConfigError(
                "ranker.n_neighbours, trials, sample_rows, search_items, most_pairs and "
                "most_counted are at least 1"
            )
