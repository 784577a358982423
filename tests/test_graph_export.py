from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import polars as pl
import pytest

from kgrec.errors import ArtefactError, KgrecError, ShapeError
from kgrec.graph import KnowledgeGraph, Relation
from kgrec.graph_export import (
    read_hetero_data,
    to_hetero_data,
    to_networkx,
    write_graphml,
    write_hetero_data,
)
from kgrec.interactions import Interactions
from kgrec.shop import Shop
from kgrec.vocabulary import Vocabulary

# PyTorch Geometric compiles with torch.jit.script as it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


@pytest.fixture
def shop() -> Shop:
    nodes = {
        "item": Vocabulary(["007", "b&<\"'", "c"]),
        "user": Vocabulary(["u", "v"], "user"),
        "brand": Vocabulary(["L'Oréal\x0b", "香"], "brand"),
    }
    edges = np.array([[0, 1, 2], [0, 0, 1]])
    relations = (
        Relation("has_brand", "item", "brand", edges, np.array([1, 0.5, 2], np.float32)),
        Relation("also", "item", "item", np.array([[0], [2]]), np.ones(1, np.float32)),
    )
    interactions = Interactions.of(
        [0, 0, 1],
        [0, 0, 2],
        n_users=2,
        n_items=3,
        behaviour=[0, 1, 0],
        time=[5, 6, 7],
        behaviours=("view", "buy"),
    )
    table = pl.DataFrame({"item_id": nodes["item"].ids, "title": ["Soap", "Cream <i>", ""]})
    graph = KnowledgeGraph(nodes, relations)
    return Shop("tiny & co", nodes["item"], nodes["user"], interactions, graph, None, table)


def edges_of(graph: nx.MultiDiGraph) -> list[tuple[object, ...]]:
    return sorted((h, t, *sorted(d.items())) for h, t, d in graph.edges(data=True))


def test_networkx_has_every_node_and_edge(shop: Shop) -> None:
    graph = to_networkx(shop)
    assert graph.number_of_nodes() == 7
    assert graph.nodes["item:007"] == {"kind": "item", "id": "007", "title": "Soap"}
    assert graph.nodes["item:c"]["title"] == "c"
    assert graph.number_of_edges() == 4 + 3
    views = [d for _, _, d in graph.edges("user:u", data=True)]
    assert {"relation": "buy", "weight": 1.0, "time": 6} in views
    assert to_networkx(shop, interactions=False).number_of_edges() == 4


def test_graphml_reads_back_as_the_same_graph(shop: Shop, tmp_path: Path) -> None:
    write_graphml(shop, tmp_path / "g.graphml")
    found, expected = nx.read_graphml(tmp_path / "g.graphml"), to_networkx(shop)
    # The one character that XML cannot hold is gone, everything else is as it was.
    clean = nx.relabel_nodes(expected, {n: n.replace("\x0b", "") for n in expected})
    assert set(found.nodes) == set(clean.nodes)
    assert edges_of(found) == edges_of(clean)
    assert found.nodes["item:b&<\"'"]["title"] == "Cream <i>"
    assert [p.name for p in tmp_path.iterdir()] == ["g.graphml"]


def test_interrupted_graphml_leaves_the_old_file(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g.graphml"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kgrec.graph_export._element", full)
    with pytest.raises(KgrecError, match="disk"):
        write_graphml(shop, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_hetero_data_keeps_types_weights_and_times(shop: Shop) -> None:
    data = to_hetero_data(shop, reverse=True)
    assert data["brand"].ids[1] == "香"
    assert data["item"].num_nodes == 3
    assert data["item", "has_brand", "brand"].edge_weight.tolist() == [1, 0.5, 2]
    assert data["user", "view", "item"].time.tolist() == [5, 7]
    back = data["brand", "rev_has_brand", "item"].edge_index
    assert back.tolist() == [[0, 0, 1], [0, 1, 2]]
    data.validate(raise_on_error=True)


def test_hetero_data_round_trips_through_a_folder(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "pyg"
    write_hetero_data(shop, folder, reverse=True)
    write_hetero_data(shop, folder, reverse=True)  # replaces an export of its own
    found, expected = read_hetero_data(folder), to_hetero_data(shop, reverse=True)
    assert found.edge_types == expected.edge_types
    assert {k: found[k].ids for k in found.node_types} == {
        k: expected[k].ids for k in expected.node_types
    }
    for edge_type in expected.edge_types:
        for name, column in expected[edge_type].items():
            assert found[edge_type][name].dtype == column.dtype
            assert found[edge_type][name].equal(column)
    assert sorted(p.name for p in folder.iterdir()) == ["edges.safetensors", "graph.json"]


def test_a_folder_of_something_else_is_refused(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="not an exported graph"):
        write_hetero_data(shop, tmp_path)
    with pytest.raises(ArtefactError, match="not an exported graph"):
        read_hetero_data(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_truncated_export_is_refused(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "pyg"
    write_hetero_data(shop, folder)
    tensors = folder / "edges.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-9])
    with pytest.raises(ArtefactError, match="export the graph again"):
        read_hetero_data(folder)


def test_two_relations_of_one_type_are_refused(shop: Shop) -> None:
    twice = KnowledgeGraph(shop.graph.nodes, (*shop.graph.relations, shop.graph.relations[1]))
    with pytest.raises(ShapeError, match="'also' between item and item"):
        to_hetero_data(replace(shop, graph=twice))
