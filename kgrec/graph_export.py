"""The graph for other tools: networkx, GraphML and PyTorch Geometric."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt

from kgrec.atomic import claim, disk_space, replace_file, replace_folder
from kgrec.errors import ArtefactError, ShapeError
from kgrec.graph import Relation
from kgrec.progress import track
from kgrec.shop import Shop

if TYPE_CHECKING:
    import networkx as nx
    from torch_geometric.data import HeteroData

_FORMAT = "kgrec-hetero"
_FORMAT_VERSION = 1
_KEYS = {
    "kind": ("node", "string"),
    "id": ("node", "string"),
    "title": ("node", "string"),
    "relation": ("edge", "string"),
    "weight": ("edge", "double"),
    "time": ("edge", "long"),
}
# XML has no way to write these, not even escaped.
_NO_XML = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 65534, 65535))


def to_networkx(shop: Shop, *, interactions: bool = True) -> nx.MultiDiGraph:
    """The graph as networkx knows it; for large graphs (a kilobyte an edge) use `write_graphml`.

    Nodes are named `kind:id` and carry kind, id and, for items, title. Edges carry relation and
    weight; those of the interactions also time. A user who met an item several times has several
    edges.

    Args:
        shop: Whose graph.
        interactions: Whether what users did is part of it.
    """
    import networkx as nx

    graph = nx.MultiDiGraph(name=shop.name)
    for name, attributes in _nodes(shop):
        graph.add_node(name, **attributes)
    for head, tail, attributes in _edges(shop, interactions):
        graph.add_edge(head, tail, **attributes)
    return graph


def write_graphml(shop: Shop, path: str | Path, *, interactions: bool = True) -> None:
    """The same graph as a GraphML file, written as a stream and renamed into place at the end.

    Raises:
        ArtefactError: Another process is writing it.
        KgrecError: The disk is full; nothing is left behind.
    """
    path = Path(path)
    with (
        disk_space(path),
        claim(path),
        replace_file(path) as beside,
        beside.open("w", encoding="utf-8") as out,
    ):
        _graphml(shop, out, interactions)


def _graphml(shop: Shop, out: TextIO, interactions: bool) -> None:
    out.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    out.write('<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
    for name, (on, kind) in _KEYS.items():
        out.write(f'<key id="{name}" for="{on}" attr.name="{name}" attr.type="{kind}"/>\n')
    out.write(f'<graph id={_quoted(shop.name)} edgedefault="directed">\n')
    for node, attributes in _nodes(shop):
        _element(out, f"node id={_quoted(node)}", attributes)
    edges = track(_edges(shop, interactions), "edges", _n_edges(shop, interactions), "edge")
    for head, tail, attributes in edges:
        _element(out, f"edge source={_quoted(head)} target={_quoted(tail)}", attributes)
    out.write("</graph>\n</graphml>\n")


def _element(out: TextIO, opening: str, attributes: dict[str, Any]) -> None:
    data = "".join(
        f'<data key="{key}">{escape(str(value).translate(_NO_XML))}</data>'
        for key, value in attributes.items()
    )
    out.write(f"<{opening}>{data}</{opening.split(' ', 1)[0]}>\n")


def _quoted(text: str) -> str:
    return quoteattr(text.translate(_NO_XML))


def _names(shop: Shop, kind: str) -> list[str]:
    return [f"{kind}:{node}" for node in shop.graph.nodes[kind].ids.to_list()]


def _nodes(shop: Shop) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, vocabulary in shop.graph.nodes.items():
        titles = _titles(shop) if kind == "item" else None
        for at, node in enumerate(vocabulary.ids.to_list()):
            attributes = {"kind": kind, "id": node}
            if titles is not None:
                attributes["title"] = titles[at]
            yield f"{kind}:{node}", attributes


def _titles(shop: Shop) -> list[str]:
    return [shop.title(item) for item in range(len(shop.items))]


def _edges(shop: Shop, interactions: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    names = {kind: _names(shop, kind) for kind in shop.graph.nodes}
    for relation in shop.graph.relations:
        heads, tails = names[relation.head], names[relation.tail]
        rows = zip(*relation.edges.tolist(), relation.weight.tolist(), strict=True)
        for head, tail, weight in rows:
            yield heads[head], tails[tail], {"relation": relation.name, "weight": weight}
    if interactions:
        met = shop.interactions
        columns = (met.user, met.item, met.behaviour, met.weight, met.time)
        for user, item, behaviour, weight, time in zip(*(c.tolist() for c in columns), strict=True):
            attributes = {"relation": met.behaviours[behaviour], "weight": weight, "time": time}
            yield names["user"][user], names["item"][item], attributes


def _n_edges(shop: Shop, interactions: bool) -> int:
    return shop.graph.n_edges + len(shop.interactions) * interactions


def to_hetero_data(shop: Shop, *, reverse: bool = False) -> HeteroData:
    """The graph as PyTorch Geometric knows it.

    Each kind of node has `num_nodes` and `ids` (a list of text). Each relation is an edge type
    (head, name, tail) with `edge_index` (2, n_edges) int64 and `edge_weight` (n_edges,) float32;
    each behaviour is ("user", name, "item") with `time` (n_edges,) int64 too.

    Args:
        shop: Whose graph.
        reverse: Whether (tail, "rev_" + name, head) is added for each.

    Raises:
        ShapeError: Two relations have the same head, name and tail.
    """
    return _assemble(
        {kind: v.ids.to_list() for kind, v in shop.graph.nodes.items()}, _tensors(shop, reverse)
    )


EdgeType = tuple[str, str, str]
Columns = dict[str, npt.NDArray[Any]]


def _tensors(shop: Shop, reverse: bool) -> dict[EdgeType, Columns]:
    tables: dict[EdgeType, Columns] = {}
    for relation, time in [(r, None) for r in shop.graph.relations] + _behaviours(shop):
        forth: Columns = {"edge_index": relation.edges, "edge_weight": relation.weight}
        if time is not None:
            forth["time"] = time
        back = forth | {"edge_index": relation.edges[::-1]}
        turned = (relation.tail, f"rev_{relation.name}", relation.head)
        directions = [((relation.head, relation.name, relation.tail), forth)]
        for kind, columns in directions + ([(turned, back)] if reverse else []):
            if kind in tables:
                raise ShapeError(
                    f"two relations are called '{kind[1]}' between {kind[0]} and {kind[2]}: "
                    "give one another name in the schema"
                )
            tables[kind] = {name: np.ascontiguousarray(c) for name, c in columns.items()}
    return tables


def _behaviours(shop: Shop) -> list[tuple[Relation, npt.NDArray[np.int64]]]:
    met = shop.interactions
    found = []
    for at, name in enumerate(met.behaviours):
        rows = met.behaviour == at
        edges = np.stack([met.user[rows], met.item[rows]]).astype(np.int64)
        found.append((Relation(name, "user", "item", edges, met.weight[rows]), met.time[rows]))
    return found


def _assemble(nodes: dict[str, list[str]], tables: dict[EdgeType, Columns]) -> HeteroData:
    import torch
    from torch_geometric.data import HeteroData

    data = HeteroData()
    for kind, ids in nodes.items():
        data[kind].num_nodes = len(ids)
        data[kind].ids = ids
    for edge_type, columns in tables.items():
        for name, column in columns.items():
            data[edge_type][name] = torch.from_numpy(column.copy())
    return data


def write_hetero_data(shop: Shop, folder: str | Path, *, reverse: bool = False) -> None:
    """Writes `to_hetero_data` as a folder of safetensors and JSON; no pickle.

    Raises:
        ArtefactError: `folder` holds something else, or another process is writing it.
        KgrecError: The disk is full; nothing is left behind.
    """
    from safetensors.numpy import save_file

    folder = Path(folder)
    tables = _tensors(shop, reverse)

    def fill(beside: Path) -> None:
        arrays = {
            f"{at}.{name}": column
            for at, columns in enumerate(tables.values())
            for name, column in columns.items()
        }
        save_file(arrays, beside / "edges.safetensors")
        description = {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "name": shop.name,
            "edge_types": [list(edge_type) for edge_type in tables],
            "nodes": {kind: v.ids.to_list() for kind, v in shop.graph.nodes.items()},
        }
        text = json.dumps(description, ensure_ascii=False)
        (beside / "graph.json").write_text(text, encoding="utf-8")

    with disk_space(folder), claim(folder):
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            _describe(folder)  # refuses to replace anything but an export
        replace_folder(folder, fill)


def read_hetero_data(folder: str | Path) -> HeteroData:
    """What `write_hetero_data` wrote.

    Raises:
        ArtefactError: Not such a folder, written by a newer kgrec, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    description = _describe(folder)
    try:
        arrays = load_file(folder / "edges.safetensors")
    except (OSError, SafetensorError) as error:
        raise ArtefactError(
            f"{folder / 'edges.safetensors'} cannot be read ({error}); export the graph again"
        ) from None
    tables: dict[EdgeType, Columns] = {tuple(t): {} for t in description["edge_types"]}
    types = list(tables)
    for name, array in arrays.items():
        at, _, column = name.partition(".")
        tables[types[int(at)]][column] = array
    return _assemble(description["nodes"], tables)


def _describe(folder: Path) -> dict[str, Any]:
    try:
        description = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
        found, version = description["format"], description["format_version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ArtefactError(
            f"{folder} is not an exported graph; give what `kgrec graph --export pyg` wrote, or an "
            "empty folder to write to"
        ) from None
    if found != _FORMAT or version != _FORMAT_VERSION:
        raise ArtefactError(
            f"{folder} holds '{found}' version {version}; this kgrec reads '{_FORMAT}' version "
            f"{_FORMAT_VERSION}: export the graph again"
        )
    return dict(description)
