"""What a fit will need: the arrays that it holds at the worst moment of each stage."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kgrec.config import Config
from kgrec.needs import EDGE, ENCODER, ENCODING, IMPORTS, MIB, ROW, Estimate
from kgrec.shop_shape import Pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class FitShape:
    """The sizes that decide what a fit needs."""

    n_users: int
    n_items: int
    n_rows: int
    """Interactions of the whole shop."""
    n_attributes: int
    """Nodes that are neither user nor item."""
    n_edges: int
    text_size: int
    """Numbers of a text embedding; 0 without text."""
    strings: int
    """Bytes of ids, tables and texts."""
    known: Pairs
    """Of everything a finished model may use."""
    n_validating: int
    """Users of the validation part."""
    searched: Pairs | None
    """Of what the search looks at; None where there is none."""
    searches_all: bool
    """Whether that is the whole training part, from whose network the final one may go on."""


_SEARCH = ("reading", "splitting", "text", "counting", "graph network", "search")
"""The stages up to the search, which may switch the dense half off for those after it."""


def fit_needs(shape: FitShape, config: Config) -> Estimate:
    """What `kgrec fit` needs for a shop of these sizes."""
    needed = _fit_needs(shape, config)
    if shape.searched is None or not (config.network.enabled and config.ranker.dense_weight):
        return needed
    sparse = _fit_needs(shape, replace(config, network=replace(config.network, enabled=False)))
    before = {stage: needed.by_stage[stage] for stage in _SEARCH if stage in needed.by_stage}
    n_tried = _Network(shape, config).n_tried(shape.searched.rows)
    disk = _Network(shape, config).on_disk(n_tried, 0, sparse.kept_bytes)
    less = Estimate({**sparse.by_stage, **before}, disk, sparse.kept_bytes)
    return replace(needed, without_dense=less)


def _fit_needs(shape: FitShape, config: Config) -> Estimate:
    ranking, network = config.ranker, config.network.within_budget(shape.n_items)
    n, known = shape.n_items, shape.known
    shop = IMPORTS["fit"] + shape.n_rows * ROW + shape.n_edges * EDGE + shape.strings
    parts = shape.n_rows * ROW + 4 * 8 * shape.n_users
    text = 4 * n * shape.text_size
    base = shop + parts + text
    stages = {
        "reading": shop + shape.n_rows * ROW + shape.strings,
        "splitting": shop + parts + 10 * shape.n_rows,
    }
    if text:
        base += ENCODER
        stages["text"] = base + ENCODING + 2 * text
    rows = _Network(shape, config)
    begun = 0
    if shape.searched is not None:
        pairs = shape.searched
        solved = _Blocks(pairs, config, ranking.search_neighbours)
        n_tried = rows.n_tried(pairs.rows) if network.enabled else 0
        stages["counting"] = base + solved.gathering(shape)
        held = base + solved.beside
        competing = min(n, ranking.search_items)
        judged = min(shape.n_validating, 8000, max(120_000_000 // competing, 1000))
        # The search keeps rows of blocks that its users have met; those of popular items are long.
        met = min(1.0, 2 * judged * pairs.rows / max(shape.n_users, 1) / max(n, 1))
        share = competing / n
        blocks = int(n_tried * solved.of_views * share * met)
        if n_tried:
            tried = (n_tried - 1) * rows.outcome
            compared = solved.counted + blocks if n_tried > 1 else 0
            stages["graph network"] = held + tried + compared + rows.training(pairs, True)
        held += n_tried * rows.outcome + solved.counted
        cached = max(blocks, int(solved.cached(ranking.trials) * share * met))
        scoring = 40 * min(8_000_000, competing * shape.n_validating)
        stages["search"] = held + cached + max(solved.solving(share), scoring)
        begun = rows.parameters if shape.searches_all and n_tried else 0
    base += begun + 8 * shape.n_users
    stages["joining parts"] = base + known.rows * (ROW + 10)
    solved = _Blocks(known, config, ranking.n_neighbours)
    stages["counting everything"] = base + solved.gathering(shape)
    held = base + solved.beside
    dense = 8 * n
    n_members, size = 0, 1
    if network.enabled and ranking.dense_weight:
        n_members = rows.n_members(known.rows)
        size = n_members * network.size
        dense = 8 * n * size
        stages["final network"] = held + max(
            (n_members - 1) * rows.outcome + rows.training(known, False),
            (n_members * rows.outcome + 24 * n * size) if n_members > 1 else 0,
        )
    held += dense
    if ranking.sparse:
        stages["ranker"] = held + solved.cached(0) + solved.counting_and_solving
    vectors = 4 * n * (size + 1)
    stages["joining views"] = held + 2 * solved.of_views
    held += solved.of_views + vectors
    index = _index_bytes(n, size + 1, vectors, config)
    stages["index"] = held + index + (vectors // 2 if index < vectors else 0)
    stages["writing"] = held + index + known.rows * ROW
    model = (
        8 * n * size + 4 * size * size + 4 * size * shape.n_attributes + solved.of_views + index
        + shape.n_rows * 5 + shape.n_edges * EDGE + shape.strings // 2
    )  # fmt: skip
    n_tried = rows.n_tried(shape.searched.rows) if shape.searched and network.enabled else 0
    return Estimate(stages, rows.on_disk(n_tried, n_members, model), model)


def _index_bytes(n_items: int, size: int, vectors: int, config: Config) -> int:
    kind = config.index.kind
    if kind == "auto":
        kind = "flat" if vectors <= config.index.budget_bytes else "ivfpq"
    per_item = {"ivfpq": config.index.pq_bytes + 8, "hnsw": 4 * size + 8 * config.index.hnsw_links}
    cells = 4 * size * int(4 * n_items**0.5) if kind in ("ivf", "ivfpq") else 0
    return n_items * per_item.get(kind, 4 * size) + cells


class _Network:
    """Bytes of training one network, in units of the table that has both roles of every node."""

    def __init__(self, shape: FitShape, config: Config) -> None:
        self._shape = shape
        self._config = config.network.within_budget(shape.n_items)
        nodes = shape.n_items + shape.n_attributes * bool(self._config.use_graph)
        self.parameters = 8 * self._config.size * nodes
        self.outcome = self.parameters + 8 * self._config.size * shape.n_items
        """What a trained network leaves in memory: its vectors and its parameters."""
        self._some = self._config.visits_some(shape.n_items)

    def n_tried(self, n_rows: int) -> int:
        """Networks that the search compares."""
        config = self._config
        if n_rows > config.search_rows:
            return 1
        n = len(dict.fromkeys((config.temperature, *config.temperatures)))
        return n + (1 + (config.layers > 0)) * config.is_small(n_rows, self._shape.n_edges)

    def n_members(self, n_rows: int) -> int:
        """Networks of the final model."""
        config = self._config
        if config.is_small(n_rows, self._shape.n_edges):
            return config.members
        return min(config.members, 1 if n_rows > config.member_rows else 2)

    def on_disk(self, n_tried: int, n_members: int, model: int) -> int:
        """Bytes at the worst moment: checkpoints stay until the model is whole, and the one that
        is being written lies beside its last state."""
        # Parameters, in the search the best ones too, and moments.
        final = self.parameters * (1 + (0 if self._some else 2))
        tried = final + self.parameters
        checkpoints = n_tried * tried + n_members * final
        written = final if n_members else tried if n_tried else 0
        return checkpoints + max(model, written)

    def training(self, pairs: Pairs, validated: bool) -> int:
        """Bytes at the worst moment of a training, what it leaves included."""
        config, shape = self._config, self._shape
        n, unit = shape.n_items, self.parameters
        users = max(shape.n_users, 1)
        batch = min(config.batch_size * (1 if self._some else 4), users)
        if not self._some:
            batch = min(max(config.batch_size, users // 24), batch, max(users // 8, 1))
        negatives = n if n <= 1.5 * config.n_negatives else config.n_negatives
        examples = 25 * pairs.rows
        text = 8 * n * shape.text_size * bool(config.use_text)
        edges = 200 * shape.n_edges * bool(config.use_graph and config.layers)
        length = pairs.rows / users
        step = batch * negatives * 4 * 5 + int(batch * length) * 40
        directions = 4 * (config.size + 10)
        if self._some:
            visited = min(n, int(batch * length) + negatives)
            step += 8 * config.size * visited * 8
            block = 8 * config.size * min(n, 2**16) * 6
            spectral = (
                unit // 2 + 2 * directions * n + 2 * directions * (users + shape.n_attributes)
            )
            # Parameters and those of the best epoch, beside them a step, or the vectors of all.
            held = unit * (1 + validated)
            trained = held + max(step, 8 * config.size * n + block)
        else:
            spectral = 3 * directions * (n + users + shape.n_attributes)
            # Parameters, two moments, gradients, the best epoch; some five copies on the way back.
            trained = unit * (9 + validated) + step
        return examples + text + edges + max(spectral, trained)


class _Blocks:
    """Bytes of what the blocks of S are solved from, and of solving them."""

    def __init__(self, pairs: Pairs, config: Config, n_neighbours: int) -> None:
        self._pairs, self._k = pairs, min(n_neighbours, config.ranker.n_neighbours)
        self._longest = config.ranker.n_neighbours
        self._sequence = bool(config.ranker.sequence_weight) and pairs.n_prefixes > 0
        ranking = config.ranker
        self._beside = {
            name: 8 * self._entries(name) for name in ("attributes", "relations", "text")
        }
        self._n_kinds = sum(bool(size) for size in self._beside.values())
        self.beside = sum(self._beside.values())
        """Gram matrices of attributes, relations and text."""
        self._sequences = 8 * (pairs.n_before + min(pairs.n_prefixes, pairs.n_before))
        views = ("history", *pairs.views)
        self.counted = self._sequences * self._sequence + sum(
            8 * (self._entries(v) + self._entries(f"{v} to target")) for v in views
        )
        """All pairs of all views."""
        self._block = {v: 8 * pairs.columns(v, self._k, len(views)) for v in views}
        self.of_views = sum(self._block.values()) if ranking.sparse else 0
        """The block of S of every view."""

    def _entries(self, name: str) -> int:
        return self._pairs.total(name, self._longest)

    def cached(self, trials: int) -> int:
        """Blocks of S that lie ready while others are solved."""
        n = len(self._block)
        return self.of_views * min(8, n + trials) // n

    def gathering(self, shape: FitShape) -> int:
        """At the worst moment before pairs are counted, what it leaves included."""
        text = 8 * shape.n_items * shape.text_size + 8 * 21 * shape.n_items
        making = max(80 * shape.n_edges, text, 30 * self._pairs.rows)
        return self.beside + making

    def solving(self, share: float = 1.0) -> int:
        """Beside what was counted, at the worst moment of solving a share of a block."""
        return max(self._solving(view, share) for view in self._block)

    @property
    def counting_and_solving(self) -> int:
        """The same where only what one view needs is counted, and for that view alone."""
        return max(
            max(self._counting(v), self._own_counts(v) + self._solving(v)) for v in self._block
        )

    def _own_counts(self, view: str) -> int:
        own = 8 * (self._entries(view) + self._entries(f"{view} to target"))
        return own + self._sequences * (view == "history" and self._sequence)

    def _counting(self, view: str) -> int:
        gram = self._entries(view)
        if view in self._pairs.pruned:
            return 20 * gram + 300 * MIB
        prefixes = 75 * self._pairs.n_prefixes if view == "history" and self._sequence else 0
        return max(16 * gram + 90 * self._pairs.rows, 8 * gram + prefixes)

    def _solving(self, view: str, share: float = 1.0) -> int:
        # What was solved lies there in parts, then as columns, then as rows.
        n_summands = 1 + (view == "history" and self._sequence) + self._n_kinds
        return int(3 * self._block[view] * share) + 16 * self._pairs.n_items * (1 + n_summands)
