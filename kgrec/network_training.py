"""Training of the graph network: epochs, early stopping, checkpoints."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.candidates import draw_candidates
from kgrec.data_parallel import Group
from kgrec.device import pick_device, product_precision
from kgrec.engine import LOCAL, Engine
from kgrec.errors import DataError, KgrecError, ShapeError
from kgrec.graph import KnowledgeGraph
from kgrec.interactions import Interactions
from kgrec.network import DenseVectors, NetworkConfig, Parameters
from kgrec.network_checkpoint import (
    fingerprint,
    load_optimizer,
    optimizer_tensors,
    read_checkpoint,
    write_checkpoint,
)
from kgrec.network_examples import Examples
from kgrec.network_loss import Negatives, Steps, batch_loss
from kgrec.network_module import GraphNetwork, Start
from kgrec.network_sampled import SampledSteps
from kgrec.network_whole import WholeSteps
from kgrec.progress import say, track
from kgrec.propagate import Nodes
from kgrec.spectral import attribute_means, spectral_items
from kgrec.validation import ndcg_of_scores

Vectors = npt.NDArray[np.float32]
_MOST_ITEMS = 60_000
"""Items that validation ranks held-out ones among; of a larger catalogue, a random sample."""


def train_network(
    train: Interactions,
    graph: KnowledgeGraph,
    text: Vectors | None,
    config: NetworkConfig,
    *,
    validation: Interactions | None = None,
    checkpoint: Path | None = None,
    start: Parameters | None = None,
    engine: Engine = LOCAL,
) -> DenseVectors:
    """Learns the dense half: vectors of items in both roles, W_g and biases.

    Each user is an example: a part of the history is hidden and predicted from the rest, by
    sampled softmax over items drawn by popularity. Items without training interactions get
    vectors from text and graph alone, for which identity dropout trains.

    Args:
        train: What is learned from.
        graph: The knowledge graph; relations with users are not used here.
        text: Text embeddings of the items, (n_items, text_size); None without text.
        config: Options.
        validation: Decides when to stop, by nDCG@10; None trains every epoch.
        checkpoint: A folder to write to after each epoch and to go on from, with the same result
            as without a break; None writes nothing.
        start: Parameters of a training on the same items and graph to go on from, instead of the
            spectral start.
        engine: Whose processes train together; the result is that of one up to the order in which
            floats are added.

    Raises:
        ConfigError: `network.device` is not here.
        DataError: No user has two distinct items, so there is nothing to predict.
        KgrecError: A process on another machine does not see `checkpoint`.
        ShapeError: Text, graph and interactions are about different numbers of items.
    """
    if graph.n_items != train.n_items:
        raise ShapeError(f"the graph has {graph.n_items} items, interactions {train.n_items}")
    if text is not None and len(text) != train.n_items:
        raise ShapeError(f"text has {len(text)} rows, interactions {train.n_items} items")
    if checkpoint is not None:
        checkpoint = checkpoint.absolute()  # ranks start elsewhere
        checkpoint.mkdir(parents=True, exist_ok=True)
    given = _Given(train, graph, text, config, validation, checkpoint, start or {})
    dense = engine.together(_train, given)
    assert dense is not None  # the first process has it
    return dense


@dataclass(frozen=True, slots=True)
class _Given:
    """The arguments of `train_network`."""

    train: Interactions
    graph: KnowledgeGraph
    text: Vectors | None
    config: NetworkConfig
    validation: Interactions | None
    checkpoint: Path | None
    start: Parameters


def _train(group: Group, given: _Given) -> DenseVectors | None:
    """The training as one process of a group sees it; only the first has the result."""
    checkpoint = given.checkpoint
    trainer = _Trainer(given, group)
    if checkpoint is not None:
        trainer.resume(checkpoint)
    while not trainer.finished:
        trainer.run_epoch()
        if checkpoint is not None and group.leads:
            trainer.save(checkpoint)
    return trainer.result() if group.leads else None


class _Trainer:
    """The state of one training: module, optimizers, epoch, and the best epoch so far."""

    def __init__(self, given: _Given, group: Group) -> None:
        config = given.config.within_budget(given.train.n_items)
        examples, validation, begun = Examples(given.train, config), given.validation, given.start
        if not len(examples.users):
            raise DataError(
                "no user has two distinct items to train on: give more interactions, or set "
                "network.enabled=false"
            )
        graph = given.graph if config.use_graph else KnowledgeGraph(given.graph.nodes)
        text = given.text if config.use_text else None
        self.examples, self.graph, self.config = examples, graph, config
        self.validation, self.group = validation, group
        self.device = pick_device(config.device, "network.device")
        self.fingerprint = _fingerprint(
            examples, graph, text, config, validation, self.device, begun
        )
        nodes = Nodes.of(graph, config.layers)
        popularity = examples.popularity()
        self.visits_some = config.visits_some(examples.n_items)
        self.negatives = Negatives(
            popularity, config.n_negatives, config.popularity_power, self.visits_some
        )
        spectral = group.leads and not begun  # the others follow the first
        start = _start(examples, graph, nodes, text, popularity > 0, spectral)
        self.module = GraphNetwork(start, config)
        taken = {  # what another process sent is not writable, of which torch would warn
            name: torch.from_numpy(np.require(value, requirements="W"))
            for name, value in begun.items()
        }
        self.module.load_state_dict(taken, strict=False)
        self.module.to(self.device)
        kind = SampledSteps if self.visits_some else WholeSteps
        self.steps: Steps = kind(self.module, graph, nodes)
        self.epoch, self.best_epoch, self.best_score = 0, 0, -1.0
        self.best: dict[str, Tensor] = {}

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or too many have brought nothing."""
        waited = self.epoch - self.best_epoch
        return self.epoch >= self.config.epochs or (
            self.validation is not None and waited >= self.config.patience
        )

    def run_epoch(self) -> None:
        """One pass over the users.

        Randomness depends on seed and epoch alone, so that a run that was killed goes on as if
        it had not been, and that the processes of a group draw the same.
        """
        parameters = list(self.module.parameters())
        self.group.follow_first(parameters)
        generator = np.random.default_rng([self.config.seed, self.epoch])
        torch_generator = torch.Generator().manual_seed(int(generator.integers(2**62)))
        self.steps.begin(generator)
        what = f"network, epoch {self.epoch + 1} of {self.config.epochs}"
        n_batches = self.examples.n_batches()
        batches = track(self.examples.batches(generator), what, n_batches, "step")
        with product_precision("medium"):
            for at, batch in enumerate(batches):
                done = (self.epoch + at / n_batches) / self.config.epochs
                loss = batch_loss(self.steps, batch, self.negatives, torch_generator, self.group)
                self.module.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                self.group.add_gradients(parameters)
                for optimizer in self.steps.optimizers.values():
                    for group in optimizer.param_groups:
                        group["lr"] = optimizer.defaults["lr"] * (1 - done)
                    optimizer.step()
        self.epoch += 1
        if self.validation is not None:
            self._judge(self.validation)

    def result(self) -> DenseVectors:
        """Vectors of the best epoch (of the last without validation), with those of attributes."""
        self.module.load_state_dict(self.best, strict=False)
        dense = self.steps.vectors()
        entities = {
            kind: means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
            for kind, means in attribute_means(self.graph, dense.item_out).items()
        }
        parameters = {name: value.cpu().numpy() for name, value in self._parameters().items()}
        return replace(dense, entities=entities, parameters=parameters)

    def save(self, folder: Path) -> None:
        """Writes everything that `resume` needs."""
        tensors = {f"module.{name}": value for name, value in self._parameters().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for prefix, optimizer in self.steps.optimizers.items():
            moments = optimizer_tensors(optimizer)
            tensors |= {prefix + name: value for name, value in moments.items()}
        state = {
            "fingerprint": self.fingerprint,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
        }
        write_checkpoint(folder, tensors, state)

    def resume(self, folder: Path) -> None:
        """Goes on from the checkpoint in `folder` where there is one of this very training.

        Raises:
            KgrecError: This process does not see what the first sees there.
        """
        found = read_checkpoint(folder, self.fingerprint)
        epoch = found[1]["epoch"] if found else 0
        if self.group.of_first(epoch) != epoch or not folder.is_dir():
            raise KgrecError(
                f"{platform.node()} does not see what the first process has in {folder}: choose "
                "an --out that is the same folder on every machine, or train in one process"
            )
        if found is None:
            return
        tensors, state = found
        self.module.load_state_dict(_under("module.", tensors), strict=False)
        self.best = _under("best.", tensors)
        for prefix, optimizer in self.steps.optimizers.items():
            load_optimizer(optimizer, _under(prefix, tensors))
        self.epoch, self.best_epoch = state["epoch"], state["best_epoch"]
        self.best_score = state["best_score"]
        say(f"network: goes on after epoch {self.epoch}")

    def _judge(self, validation: Interactions) -> None:
        leads, score = self.group.leads, 0.0
        if leads:
            score = _ndcg(self.steps.vectors(), self.examples, validation)
            say(f"network: epoch {self.epoch}, validation nDCG@10 {score:.4f}")
        score = self.group.of_first(score)
        if score > self.best_score:
            self.best_epoch, self.best_score = self.epoch, score
            put_by = _in_a_file if self.visits_some else Tensor.clone
            self.best = {name: put_by(value) for name, value in self._parameters().items() if leads}

    def _parameters(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.module.named_parameters()}


def _in_a_file(tensor: Tensor) -> Tensor:
    """A copy in a file without a name, which need not stay in memory."""
    if not tensor.numel():  # such a file cannot be mapped
        return tensor.clone()
    array = tensor.cpu().numpy()
    with TemporaryFile() as file:
        copy = np.memmap(file, array.dtype, "w+", shape=array.shape)
    copy[...] = array
    return torch.from_numpy(copy)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _start(
    examples: Examples,
    graph: KnowledgeGraph,
    nodes: Nodes,
    text: Vectors | None,
    warm: npt.NDArray[np.bool_],
    spectral: bool,
) -> Start:
    config = examples.config
    items = np.zeros((examples.n_items, config.size), np.float32)
    if spectral:
        history, weight = examples.history(), config.graph_weight
        items = spectral_items(
            history,
            graph,
            config.size,
            graph_weight=weight,
            seed=config.seed,
            lean=config.visits_some(examples.n_items),
        )
    means = attribute_means(graph, items)
    attributes = np.concatenate([items[:0], *means.values()])[nodes.visited[len(items) :]]
    if text is not None:
        text = (text - text[warm].mean(axis=0)).astype(np.float32)
    return Start(items, attributes, text, warm, 2 * len(graph.relations))


def _fingerprint(
    examples: Examples,
    graph: KnowledgeGraph,
    text: Vectors | None,
    config: NetworkConfig,
    validation: Interactions | None,
    device: torch.device,
    begun: Parameters,
) -> str:
    arrays: list[npt.NDArray[np.generic]] = [
        examples.start, examples.item, examples.weight, examples.wanted, examples.back
    ]  # fmt: skip
    if validation is not None:
        arrays += [validation.user, validation.item]
    for relation in graph.relations:
        arrays += [relation.edges, relation.weight]
    if text is not None:
        arrays.append(text)
    arrays += list(begun.values())
    return fingerprint(config.to_dict() | {"device": device.type}, arrays)


def _ndcg(dense: DenseVectors, examples: Examples, validation: Interactions) -> float:
    """Mean nDCG@10 of a sample of validation users, seen items removed."""
    config = examples.config
    held_out = validation.where(validation.is_target())
    users = np.flatnonzero((np.diff(held_out.start) > 0) & (np.diff(examples.start) > 0))
    if not len(users):
        return 0.0
    if len(users) > config.validation_users:
        generator = np.random.default_rng(config.seed)
        users = np.sort(generator.choice(users, config.validation_users, replace=False))
    some = held_out.select(users)
    truth = csr_array(
        (np.ones(len(some), np.float32), some.item, some.start),
        shape=(len(users), examples.n_items),
    )
    truth.sum_duplicates()
    truth.data[:] = 1
    candidates = draw_candidates(truth, _MOST_ITEMS, config.seed)
    truth = candidates.columns(truth)
    vectors, bias = dense.item_out[candidates.items], dense.bias[candidates.items]
    values = []
    for rows in np.array_split(np.arange(len(users)), -(-len(users) // 512)):
        history = examples.history(users[rows])
        scores = dense.user_vectors(history) @ vectors.T + bias
        seen, wanted = candidates.columns(history), truth[rows]
        wanted = csr_array(wanted - wanted.multiply(seen > 0))
        wanted.eliminate_zeros()
        values.append(
            ndcg_of_scores(np.asarray(scores, np.float32), seen, wanted, 10, candidates.weight)
        )
    return float(np.concatenate(values).mean())
