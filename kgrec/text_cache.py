"""Vectors of texts kept on disk by content, so that a second run encodes only what changed.

One folder per encoder signature; in it, shards named by the hash of their own bytes. A shard is
written beside and renamed, is never altered, and is checked when it is read, so two processes may
share a cache: at worst both encode the same text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load, save

from kgrec.atomic import disk_space, replace_file
from kgrec.progress import say

Vectors = npt.NDArray[np.float32]
HASH_BYTES = 16
MANY_SHARDS = 32


@dataclass(slots=True)
class CacheStats:
    """Texts asked of a cache so far."""

    hits: int = 0
    misses: int = 0


class TextCache:
    """The vectors that one encoder gave.

    Args:
        folder: Where caches of all encoders lie; made when something is added.
        signature: Names the encoder and all its settings that a vector depends on.
        size: Length of a vector.
    """

    def __init__(self, folder: Path, signature: str, size: int) -> None:
        self.folder = folder / signature
        self.size = size
        self.stats = CacheStats()

    def find(self, hashes: pl.Series) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        """Vectors of the texts that are here.

        Args:
            hashes: From `content_hashes`, distinct, Binary, (n,).

        Returns:
            Vectors, (n, size) float32, zero where unknown, and which are known, (n,) bool.
        """
        vectors = np.zeros((len(hashes), self.size), np.float32)
        known = np.zeros(len(hashes), np.bool_)
        asked = pl.DataFrame({"hash": hashes, "row": np.arange(len(hashes))})
        for path in self._shards():
            shard = self._read(path)
            if shard is None:
                continue
            found = pl.DataFrame({"hash": shard[0], "at": np.arange(len(shard[0]))})
            pairs = found.join(asked, on="hash")
            rows = pairs["row"].to_numpy()
            vectors[rows] = shard[1][pairs["at"].to_numpy()]
            known[rows] = True
        hits = int(known.sum())
        self.stats.hits += hits
        self.stats.misses += len(hashes) - hits
        return vectors, known

    def add(self, hashes: pl.Series, vectors: Vectors) -> None:
        """Keeps the vectors (n, size) of these texts as one new shard; merges many into one."""
        self._write(hashes, vectors)
        paths = self._shards()
        if len(paths) > MANY_SHARDS:
            read = [(path, shard) for path in paths if (shard := self._read(path)) is not None]
            merged = pl.concat([shard[0] for _, shard in read])
            kept = self._write(merged, np.concatenate([shard[1] for _, shard in read]))
            for path, _ in read:
                if path != kept:
                    path.unlink(missing_ok=True)

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"))

    def _write(self, hashes: pl.Series, vectors: Vectors) -> Path:
        packed = np.frombuffer(b"".join(hashes.to_list()), np.uint8).reshape(-1, HASH_BYTES)
        content = save({"hash": packed, "vector": np.ascontiguousarray(vectors)})
        path = self.folder / f"{_digest(content).hex()}.safetensors"
        self.folder.mkdir(parents=True, exist_ok=True)
        with disk_space(path), replace_file(path) as beside:
            beside.write_bytes(content)
        return path

    def _read(self, path: Path) -> tuple[pl.Series, Vectors] | None:
        """Hashes and vectors of a shard; None when it is damaged, which is said, or merged away."""
        try:
            content = path.read_bytes()
            if _digest(content).hex() != path.stem:
                raise ValueError("its bytes are not those that were written")
            shard = load(content)
            packed, vectors = shard["hash"], shard["vector"]
            if packed.shape != (len(vectors), HASH_BYTES) or vectors.shape[1:] != (self.size,):
                raise ValueError(f"its shapes are {packed.shape} and {vectors.shape}")
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, SafetensorError) as error:
            say(f"text cache: {path} is damaged ({error}); removed, its texts are encoded again")
            path.unlink(missing_ok=True)
            return None
        joined = packed.tobytes()
        cut = (joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES))
        return pl.Series("hash", list(cut), pl.Binary), vectors


def content_hashes(texts: Iterable[str]) -> pl.Series:
    """BLAKE2b of each text's UTF-8 bytes, Binary of 16 bytes, (n,)."""
    return pl.Series("hash", [_digest(text.encode()) for text in texts], pl.Binary)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=HASH_BYTES).digest()
