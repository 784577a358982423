"""A BERT of two layers with random weights, and a shop whose texts it can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from kgrec.graph import KnowledgeGraph, Relation
from kgrec.interactions import Interactions
from kgrec.shop import Shop
from kgrec.vocabulary import Vocabulary

COLOURS = ("red", "green", "blue", "black")
WORDS = (*COLOURS, "tea", "cup", "pot", "mug", "lid", "spoon", "old", "new", "big", "small")


def write_tiny_bert(folder: Path, seed: int = 0, n_layers: int = 2) -> Path:
    """Weights, config and tokenizer as transformers saves them."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.3,  # so that texts differ before any training
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    return folder


def tiny_shop(n_users: int = 60) -> Shop:
    """Forty items in four colours; each user buys five of one colour, in order."""
    generator = np.random.default_rng(0)
    nouns = [
        "tea",
        "cup",
        "pot",
        "mug",
        "lid",
        "spoon",
        "old cup",
        "new pot",
        "big mug",
        "small lid",
    ]
    colour = np.repeat(np.arange(4), 10)
    titles = [f"{COLOURS[c]} {noun}" for c, noun in zip(colour, nouns * 4, strict=True)]
    items, users = Vocabulary([f"i{n}" for n in range(40)]), Vocabulary(range(n_users), "user")
    picked = np.concatenate(
        [generator.permutation(np.flatnonzero(colour == u % 4))[:5] for u in range(n_users)]
    )
    interactions = Interactions.of(
        np.repeat(np.arange(n_users), 5),
        picked,
        n_users=n_users,
        n_items=40,
        time=np.tile(np.arange(5), n_users),
        time_kind="position",
    )
    edges = np.stack([np.arange(40), colour])
    has_colour = Relation("has_colour", "item", "colour", edges, np.ones(40, np.float32))
    nodes = {"item": items, "user": users, "colour": Vocabulary(COLOURS, "colour")}
    table = pl.DataFrame({"item_id": items.ids, "title": titles})
    graph = KnowledgeGraph(nodes, (has_colour,))
    return Shop("tiny", items, users, interactions, graph, pl.Series(titles), table)
