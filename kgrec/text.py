"""The text stage: from a shop's texts to one vector an item.

The encoder comes as it is or is fitted to the shop first; vectors are kept by content, so that a
second run encodes only what changed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from kgrec.engine import LOCAL, Engine
from kgrec.errors import KgrecError
from kgrec.interactions import Interactions
from kgrec.progress import say
from kgrec.shop import Shop
from kgrec.text_config import TextConfig

if TYPE_CHECKING:
    from kgrec.text_cache import TextCache
    from kgrec.text_encoder import TextEncoder

__all__ = ["TextConfig", "embed_items", "embed_texts", "open_encoder"]


def embed_items(
    shop: Shop,
    train: Interactions,
    config: TextConfig,
    cache: Path | None = None,
    engine: Engine = LOCAL,
) -> npt.NDArray[np.float32] | None:
    """The text_embedding of every item.

    Args:
        shop: Its `text` is what is encoded.
        train: Training interactions only; fine-tuning draws pairs from them.
        config: Encoder, and how it is fitted.
        cache: A folder that keeps vectors and fitted encoders between runs, or None.
        engine: Encodes the texts.

    Returns:
        Unit vectors, (n_items, size) float32, zero where an item has no text; None, which is
        said, where no item has any.

    Raises:
        KgrecError: The encoder cannot be loaded.
        MissingExtraError: A package of the extra `text` is not installed.
        DataError: Too few pairs to fine-tune on.
    """
    if shop.text is None or not _present(shop.text).any():
        say("text: the catalogue has no text, so there are no text embeddings")
        return None
    encoder = open_encoder(shop, train, config, cache)
    return embed_texts(shop.text, encoder, _vector_cache(encoder, cache), engine)


def open_encoder(
    shop: Shop, train: Interactions, config: TextConfig, cache: Path | None = None
) -> TextEncoder:
    """The encoder that `embed_items` uses: as it came, or fitted to the shop.

    A fitted one is looked up in `cache` before it is made, and a fit that was stopped goes on.
    """
    base = _load(config.encoder, config)
    if config.mode == "frozen" or shop.text is None:
        return base
    from kgrec.text_finetune import fine_tune, job_signature
    from kgrec.text_pairs import text_pairs

    n_pairs = config.max_steps * config.batch_size + config.validation_pairs
    n_attribute = round(config.attribute_share * n_pairs)
    pairs = text_pairs(
        shop,
        train,
        seed=config.seed,
        cap=config.pair_cap,
        n_together=n_pairs - n_attribute,
        n_attribute=n_attribute,
    )
    job = job_signature(base, pairs, config)
    folder = None if cache is None else cache / "encoders" / job
    if folder is not None and folder.is_dir():
        try:
            return _load(str(folder), config).named(job)
        except KgrecError as error:
            say(f"text: {error}; it is fitted again")
            shutil.rmtree(folder)
    checkpoint = None if folder is None else folder.with_suffix(".checkpoint.safetensors")
    encoder, standing = fine_tune(base, pairs, config, checkpoint)
    (_, first), best = standing.looks[0], standing.best_mrr
    say(
        f"text: fitted the encoder ({config.mode}, {len(pairs.together)} pairs bought together, "
        f"{len(pairs.attribute)} of title and attribute, {standing.step} steps): mean reciprocal "
        f"rank of held-out pairs {first:.4f} -> {best:.4f}, from step {standing.best_step}"
    )
    if folder is not None and checkpoint is not None:
        encoder.save(folder)
        checkpoint.unlink(missing_ok=True)
    return encoder


def embed_texts(
    texts: pl.Series,
    encoder: TextEncoder,
    cache: TextCache | None = None,
    engine: Engine = LOCAL,
) -> npt.NDArray[np.float32]:
    """Unit vectors of `texts`, (n, size) float32, zero where one is empty; each text once.

    Args:
        texts: String, (n,).
        encoder: What encodes.
        cache: Vectors that this encoder gave before; new ones are added a block at a time.
        engine: Encodes blocks.
    """
    from kgrec.text_cache import content_hashes

    table = texts.alias("text").to_frame().filter(_present(texts))
    distinct = table.unique(maintain_order=True)["text"]
    vectors = np.zeros((len(distinct), encoder.size), np.float32)
    known = np.zeros(len(distinct), np.bool_)
    hashes = content_hashes(distinct)
    if cache is not None:
        vectors, known = cache.find(hashes)
    missing = np.flatnonzero(~known)
    if cache is not None:
        say(f"text: {len(missing)} of {len(distinct)} texts to encode, the others are cached")
    for rows, block in encoder.encode_blocks(distinct.gather(missing).to_list(), engine):
        vectors[missing[rows]] = block
        if cache is not None:
            cache.add(hashes.gather(missing[rows]), block)
    asked = texts.alias("text").to_frame()
    places = distinct.alias("text").to_frame().with_row_index("at")
    at = asked.join(places, on="text", how="left", maintain_order="left")["at"]
    padded = np.concatenate([vectors, np.zeros((1, encoder.size), np.float32)])
    found: npt.NDArray[np.float32] = padded[at.fill_null(len(distinct)).to_numpy()]
    return found


def _present(texts: pl.Series) -> pl.Series:
    return texts.fill_null("").str.strip_chars() != ""


def _load(name: str, config: TextConfig) -> TextEncoder:
    from kgrec.text_encoder import TextEncoder

    return TextEncoder.load(
        name,
        max_length=config.max_length,
        batch_tokens=config.batch_tokens,
        precision=config.precision,
        device=config.device,
    )


def _vector_cache(encoder: TextEncoder, cache: Path | None) -> TextCache | None:
    from kgrec.text_cache import TextCache

    if cache is None:
        return None
    return TextCache(cache / "vectors", encoder.signature, encoder.size)
