"""Contrastive fine-tuning of a text encoder: texts that belong together come to lie together."""

from __future__ import annotations

import copy
import hashlib
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kgrec.errors import DataError, MissingExtraError
from kgrec.progress import say, track
from kgrec.text_checkpoint import read_checkpoint, write_checkpoint
from kgrec.text_config import TextConfig
from kgrec.text_contrast import KnownPairs, batches, contrastive_loss, mean_reciprocal_rank
from kgrec.text_encoder import TextEncoder, Tokens
from kgrec.text_pairs import Pairs, TextPairs

LORA_RATE = 10.0
"""Adapters start at zero and are few: they take about ten times the rate of whole weights."""


@dataclass(slots=True)
class Standing:
    """Where training stands: all that a checkpoint keeps beside the weights."""

    step: int = 0
    best_mrr: float = -1.0
    best_step: int = 0
    worse_looks: int = 0
    looks: list[tuple[int, float]] = field(default_factory=list)
    """Step, and mean reciprocal rank on the pairs kept out."""

    def look(self, mrr: float) -> bool:
        """Notes a measure; whether it is the best so far."""
        self.looks.append((self.step, mrr))
        better = mrr > self.best_mrr
        self.worse_looks = 0 if better else self.worse_looks + 1
        if better:
            self.best_mrr, self.best_step = mrr, self.step
        return better


def job_signature(encoder: TextEncoder, pairs: TextPairs, config: TextConfig) -> str:
    """Hash of all that decides what fine-tuning gives; names its checkpoint and its result."""
    digest = hashlib.blake2b(digest_size=16)
    settings = (encoder.fingerprint, encoder.pooling, str(encoder.dtype), asdict(config))
    digest.update(repr(settings).encode())
    digest.update("\0".join(pairs.texts).encode())
    digest.update(pairs.together.tobytes() + b"|" + pairs.attribute.tobytes())
    return digest.hexdigest()


def fine_tune(
    encoder: TextEncoder,
    pairs: TextPairs,
    config: TextConfig,
    checkpoint: Path | None = None,
) -> tuple[TextEncoder, Standing]:
    """The encoder fitted to the pairs; `encoder` itself stays as it is.

    The best step on held-out pairs is kept; where none beats the start, the start is.

    Args:
        encoder: What to start from.
        pairs: From `text_pairs`; training data only.
        config: Its `mode` is `lora` or `full`.
        checkpoint: A file to go on from and to keep up to date; a run that was stopped ends with
            the same weights as one that was not. One of another job, or damaged, is said and
            written anew.

    Raises:
        DataError: There are too few pairs to train on.
        MissingExtraError: `lora` without peft.
    """
    fit = _Fit(encoder, pairs, config)
    job = job_signature(encoder, pairs, config)
    if checkpoint is None or not fit.restore(checkpoint, job):
        fit.look()
    steps = range(fit.at.step, config.max_steps)
    drawn = batches(fit.kinds, config.batch_size, config.seed, fit.at.step)
    for batch in track(islice(drawn, len(steps)), "fine-tuning text", len(steps), "batch"):
        if fit.at.worse_looks >= config.patience:
            break
        fit.train(batch)
        if fit.at.step % config.evaluate_every == 0 or fit.at.step == config.max_steps:
            fit.look()
            if checkpoint is not None:
                write_checkpoint(checkpoint, job, fit.tensors(), asdict(fit.at))
    return fit.best_encoder(job), fit.at


class _Fit:
    """A fine-tuning under way: model, optimiser and standing."""

    def __init__(self, encoder: TextEncoder, pairs: TextPairs, config: TextConfig) -> None:
        self.config = config
        self.at = Standing()
        self.kinds, self.held = _hold_out(pairs, config)
        self.known = KnownPairs(pairs.all, len(pairs.texts))
        length = min(config.train_length, encoder.max_length)
        self.tokens: list[Tokens] = encoder.tokenize(pairs.texts, length)
        self.encoder = encoder.with_model(trainable(encoder.model, config), encoder.fingerprint)
        self.weights = {
            name: weight
            for name, weight in self.encoder.model.named_parameters()
            if weight.requires_grad
        }
        groups = parameter_groups(self.weights, config)
        # foreach=False: the single-tensor form does the same sums whatever groups there are
        self.optimizer = torch.optim.AdamW(groups, foreach=False)
        self.best: dict[str, Tensor] = {}

    def train(self, batch: Pairs) -> None:
        """One step of the optimiser."""
        factor = rate_factor(self.at.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        model = self.encoder.model
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.enable_grad():
            # Dropout is a function of the step, so that a resumed run draws what it would have.
            torch.manual_seed(self.config.seed * 1_000_003 + self.at.step)
            model.train()
            vectors = self.encoder.forward([self.tokens[at] for at in batch.T.ravel()])
            model.eval()
        left, right = vectors.chunk(2)
        false = torch.from_numpy(self.known.false_negatives(batch)).to(vectors.device)
        loss = contrastive_loss(left, right, false, self.config.temperature)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.at.step += 1

    def look(self) -> None:
        """Measures on the held-out pairs, and keeps the weights when they are the best so far."""
        texts, at = np.unique(self.held, return_inverse=True)
        vectors = self.encoder.encode_tokens([self.tokens[text] for text in texts])
        left, right = vectors[at.reshape(-1, 2).T]
        false = self.known.false_negatives(self.held)
        if self.at.look(mean_reciprocal_rank(left, right, false)):
            self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Weights, best weights and the optimiser's moments, by name."""
        found = {f"now.{name}": weight.detach() for name, weight in self.weights.items()}
        found |= {f"best.{name}": weight for name, weight in self.best.items()}
        for name, weight in self.weights.items():
            for key, value in self.optimizer.state[weight].items():
                found[f"{key}.{name}"] = value
        return found

    def restore(self, checkpoint: Path, job: str) -> bool:
        """Goes on from a checkpoint of this job; whether there was one."""
        read = read_checkpoint(checkpoint, job)
        if read is None:
            return False
        tensors, standing = read
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[f"now.{name}"])
                self.best[name] = tensors[f"best.{name}"].to(weight.device)
                for key in ("step", "exp_avg", "exp_avg_sq"):
                    value = tensors[f"{key}.{name}"]
                    device = "cpu" if key == "step" else weight.device
                    self.optimizer.state[weight][key] = value.to(device)
        looks = [(int(step), float(mrr)) for step, mrr in standing.pop("looks")]
        self.at = Standing(**standing, looks=looks)
        say(f"text: fine-tuning goes on from step {self.at.step} ({checkpoint})")
        return True

    def best_encoder(self, fingerprint: str) -> TextEncoder:
        """The encoder with the best weights, adapters merged into them."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self.best[name])
        model = self.encoder.model
        if self.config.mode == "lora":
            model = model.merge_and_unload()
        return self.encoder.with_model(model.requires_grad_(False).eval(), fingerprint)


def trainable(model: Any, config: TextConfig) -> Any:
    """A copy of a transformers model in which what `config.mode` trains requires gradients."""
    model = copy.deepcopy(model).requires_grad_(config.mode == "full")
    if config.mode == "full":
        for name, weight in model.named_parameters():
            weight.requires_grad_("pooler" not in name)  # the pooler's output is not used
        return model
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("peft", "text", "text.mode = 'lora'") from error
    adapters = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        lora_dropout=0.05,
        target_modules="all-linear",
        exclude_modules=r".*pooler.*",
    )
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        # peft asks transformers for what the latter has renamed; nothing a caller could mend
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*deprecated")
        torch.manual_seed(config.seed)  # the adapters' start is drawn
        return peft.get_peft_model(model, adapters)


def parameter_groups(
    weights: Mapping[str, nn.Parameter], config: TextConfig
) -> list[dict[str, Any]]:
    """One group a layer and decay for AdamW; the rate falls by `layer_decay` a layer downwards.

    Source: Howard & Ruder 2018, section 3.2 (discriminative fine-tuning).
    """
    top = config.learning_rate * (LORA_RATE if config.mode == "lora" else 1.0)
    layers = {name: _layer(name) for name in weights}
    n_layers = 1 + max((layer for layer in layers.values() if layer is not None), default=-1)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, weight in weights.items():
        layer = layers[name]
        above = 0 if layer is None else n_layers - 1 - layer
        decayed = weight.ndim > 1
        peak = top * config.layer_decay**above
        decay = config.weight_decay if decayed else 0.0
        empty = {"params": [], "peak": peak, "lr": peak, "weight_decay": decay}
        groups.setdefault((above, decayed), empty)["params"].append(weight)
    return list(groups.values())


def _layer(name: str) -> int | None:
    """Which layer a weight is in: 0 lowest, -1 the embeddings, None what lies above all layers."""
    found = re.search(r"\.?(?:layer|layers|h)\.(\d+)\.", name)
    if found:
        return int(found.group(1))
    return -1 if "embedding" in name else None


def rate_factor(step: int, config: TextConfig) -> float:
    """Share of the peak rate at a step, in 0..1: a climb, then a cosine down to zero."""
    rising = config.warmup * config.max_steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, config.max_steps - rising)))


def _hold_out(pairs: TextPairs, config: TextConfig) -> tuple[list[Pairs], Pairs]:
    """Pairs of each kind to train on, and those kept out, of the kind that matters more."""
    kinds = [pairs.together, pairs.attribute]
    main = 0 if len(kinds[0]) >= 10 else 1
    n_held = min(config.validation_pairs, len(kinds[main]) // 5)
    if n_held < 1:
        raise DataError(
            f"only {len(pairs.all)} pairs of texts belong together by the training interactions "
            "and the graph, too few to fine-tune on; set text.mode = 'frozen'"
        )
    order = np.random.default_rng([config.seed, 3]).permutation(len(kinds[main]))
    held = kinds[main][order[:n_held]]
    kinds[main] = kinds[main][order[n_held:]]
    return kinds, held
