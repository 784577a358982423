"""The demo on a tiny shop of the embedded shop's shape, and the embedded shop itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kgrec import demo
from kgrec.demo import embedded_shop, run_demo
from kgrec.demo_report import product_name
from kgrec.errors import MissingExtraError
from kgrec.loading import load
from kgrec.shop import Shop

N_HOUSEHOLDS, N_PRODUCTS, N_PURCHASES = 40, 30, 2400


def tiny_shop() -> Shop:
    """Households that buy one of two halves of the products, over a year; without text."""
    generator = np.random.default_rng(0)
    household = generator.integers(0, N_HOUSEHOLDS, N_PURCHASES)
    product = generator.integers(0, N_PRODUCTS // 2, N_PURCHASES) * 2 + household % 2
    time = np.sort(generator.integers(1_483_228_800, 1_514_764_800, N_PURCHASES))
    kinds = ["SOFT DRINKS", "BREAD", "MILK"]
    tables = {
        "interactions": pl.DataFrame(
            {"household_id": household, "product_id": product, "transaction_timestamp": time}
        ),
        "items": pl.DataFrame(
            {
                "product_id": range(N_PRODUCTS),
                "product_type": [kinds[i % 2] for i in range(N_PRODUCTS)],
                "product_category": [kinds[i % 3] for i in range(N_PRODUCTS)],
                "department": ["GROCERY"] * N_PRODUCTS,
                "brand": ["Private" if i % 5 == 0 else "National" for i in range(N_PRODUCTS)],
                "manufacturer_id": [i % 4 for i in range(N_PRODUCTS)],
                "package_size": ["12 OZ" if i % 2 else None for i in range(N_PRODUCTS)],
            }
        ),
        "users": pl.DataFrame(
            {"household_id": range(N_HOUSEHOLDS)}
            | {c: ["a"] * N_HOUSEHOLDS for c in ("age", "income", "household_comp", "kids_count")}
        ),
    }
    return replace(load(tables, "complete-journey"), text=None)


@pytest.mark.slow
def test_the_demo_writes_lists_model_evaluation_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "embedded_shop", tiny_shop)
    monkeypatch.setattr(demo, "OPTIONS", (*demo.OPTIONS, "network.enabled=false"))
    out = tmp_path / "new" / "folder"
    run_demo(out, k=6)
    lists = pl.read_parquet(out / "lists.parquet")
    assert lists["user_id"].n_unique() == N_HOUSEHOLDS
    assert lists["rank"].max() == 6
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert {"kgrec", "popularity", "item-knn"} <= set(evaluation["models"])
    html = (out / "report.html").read_text()
    for words in ("simulated from real shopping by its authors", "Soft drinks", "in_department"):
        assert words in html, words
    assert "http://" not in html
    shown = capsys.readouterr().out
    assert shown.count("might like to try") == 3
    assert "simulated from real shopping" in shown
    assert str(out / "report.html") in shown


def test_a_product_is_called_by_its_kind_size_and_brand() -> None:
    table = tiny_shop().item_table
    assert product_name(table, 0) == "Soft drinks, own brand"
    assert product_name(table, 1) == "Bread, 12 oz"
    bare = table.with_columns(pl.lit(None, pl.String).alias(c) for c in table.columns[1:])
    assert product_name(bare, 3) == "Product 3"


def test_a_missing_package_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingExtraError("jinja2", "demo", "an HTML report")

    monkeypatch.setattr(demo, "check_installed", missing)
    with pytest.raises(MissingExtraError, match="jinja2"):
        run_demo(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_embedded_shop_keeps_every_household() -> None:
    shop = embedded_shop()
    assert len(shop.users) == 2469
    assert len(shop.items) == 10_428
    assert len(shop.interactions) == 1_174_608
    assert product_name(shop.item_table, 0)
