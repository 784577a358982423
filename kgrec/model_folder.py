"""A recommender as a folder: what is written, and how it is read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from kgrec.artefact import (
    csr_from_arrays,
    csr_to_arrays,
    load_arrays,
    load_table,
    open_folder,
    save_arrays,
    save_table,
    write_folder,
)
from kgrec.config import Config
from kgrec.device import is_here
from kgrec.errors import ArtefactError
from kgrec.graph import KnowledgeGraph
from kgrec.item_index import ItemIndex
from kgrec.network import DenseVectors
from kgrec.progress import say
from kgrec.ranker import Ranker, offered
from kgrec.recommender import Recommender
from kgrec.stored_parts import about_relations, load_relations, load_rows, save_relations, save_rows
from kgrec.vocabulary import Vocabulary

_DENSE = ("item_in", "item_out", "w_g", "bias")


def save(model: Recommender, path: Path) -> None:
    """Writes the whole folder or nothing.

    Raises:
        ArtefactError: Something else is at `path`, or another process writes there.
        KgrecError: The disk is full.
    """
    history = model.history
    manifest = {
        "config": model.config.to_dict(),
        "seed": model.config.seed,
        "fit_report": dict(model.fit_report),
        "views": list(model.ranker.views),
        "index_kind": model.index.kind,
        "behaviours": list(history.behaviours),
        "time_kind": history.time_kind,
        "target": history.target,
        "relations": about_relations(model.graph),
    }
    write_folder(path, lambda folder: _fill(model, folder), manifest)


def _fill(model: Recommender, folder: Path) -> None:
    save_table(folder / "items.parquet", model.item_table)
    for kind, vocabulary in model.graph.nodes.items():
        save_table(folder / f"nodes_{kind}.parquet", vocabulary.ids.to_frame())
    parts = {"history": model.history, "held_out": model.held_out, "later": model.later}
    for name, part in parts.items():
        if part is not None:
            save_rows(folder / f"{name}.parquet", part)
    save_relations(folder / "graph.safetensors", model.graph)
    dense = model.ranker.dense
    arrays: dict[str, npt.NDArray[Any]] = {name: getattr(dense, name) for name in _DENSE}
    entities = {f"entities.{kind}": rows for kind, rows in dense.entities.items()}
    save_arrays(folder / "dense.safetensors", arrays | entities)
    extra: dict[str, npt.NDArray[Any]] = {
        "popularity": model.ranker.popularity,
        "cold_items": model.cold_items,
    }
    save_arrays(folder / "sparse.safetensors", csr_to_arrays("s", model.ranker.sparse) | extra)
    model.index.save(folder / "items.faiss")


def load(path: Path) -> Recommender:
    """The recommender in a folder, once every hash agrees.

    Raises:
        ArtefactError: See `kgrec.artefact.open_folder`.
    """
    manifest = open_folder(path)
    try:
        return _read(path, manifest)
    except (KeyError, ValueError, TypeError) as error:
        raise ArtefactError(
            f"{path} lacks something that this kgrec expects ({error}); fit again"
        ) from error


def _read(path: Path, manifest: Mapping[str, Any]) -> Recommender:
    config = Config.from_dict(manifest["config"])
    kinds = {
        name[len("nodes_") : -len(".parquet")]
        for name in manifest["files"]
        if name.startswith("nodes_")
    }
    nodes = {
        kind: Vocabulary(load_table(path / f"nodes_{kind}.parquet")["id"], kind)
        for kind in sorted(kinds)
    }
    relations = load_relations(path / "graph.safetensors", manifest["relations"])
    sparse = load_arrays(path / "sparse.safetensors")
    dense = _dense(path)
    parts = {
        name: load_rows(
            path / f"{name}.parquet",
            manifest,
            manifest["time_kind"],
            len(nodes["user"]),
            len(nodes["item"]),
        )
        for name in ("history", "held_out", "later")
        if f"{name}.parquet" in manifest["files"]
    }
    return Recommender(
        items=nodes["item"],
        users=nodes["user"],
        item_table=load_table(path / "items.parquet"),
        graph=KnowledgeGraph(nodes, relations),
        history=parts["history"],
        held_out=parts.get("held_out"),
        later=parts.get("later"),
        cold_items=sparse["cold_items"],
        ranker=Ranker(
            config=config.ranker,
            dense=dense,
            sparse=csr_from_arrays("s", sparse),
            item_vectors=offered(dense.item_out, dense.bias, sparse["popularity"], config.ranker),
            popularity=sparse["popularity"],
            views=tuple(manifest["views"]),
        ),
        index=ItemIndex.load(path / "items.faiss", manifest["index_kind"], _device(config)),
        config=config,
        fit_report=manifest["fit_report"],
    )


def _device(config: Config) -> str:
    """`index.device`, or `auto` where a model comes from a machine that had another one."""
    device = config.index.device
    if is_here(device):
        return device
    say(f"index.device of the model is {device}, which is not here; auto takes its place")
    return "auto"


def _dense(path: Path) -> DenseVectors:
    arrays = load_arrays(path / "dense.safetensors")
    prefix = "entities."
    entities = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    item_in, item_out, w_g, bias = (arrays[name] for name in _DENSE)
    return DenseVectors(item_in, item_out, w_g, bias, entities)
