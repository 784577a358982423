"""What a row may see, as a folder: catalogue, graph, text, training and validation part.

The test part is not in it, so the process that fits a model cannot read it, whatever it does.
Arrays and Parquet only; the folder appears whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kgrec import shop_folder
from kgrec.atomic import claim, replace_folder
from kgrec.errors import DataError
from kgrec.shop import Shop
from kgrec.split import Parts
from kgrec.vocabulary import Indices


@dataclass(frozen=True, slots=True)
class Visible:
    """What the process of a row reads."""

    shop: Shop
    """Its interactions are training and validation together."""
    parts: Parts
    """Without a test part."""
    users: Indices
    """Whose lists are wanted, (n,)."""


def write_visible(folder: Path, shop: Shop, parts: Parts, users: Indices) -> None:
    """Writes what rows may see; nothing that is in the test part alone but who is tested."""

    seen = replace(shop, interactions=parts.train, validation=parts.validation, test=None)

    def fill(into: Path) -> None:
        shop_folder.fill(seen, into)
        np.savez(into / "arrays.npz", users=users, cold_items=parts.cold_items)
        (into / "about.json").write_text(json.dumps(shop_folder.about(seen)), encoding="utf-8")

    with claim(folder):
        replace_folder(folder, fill)


def read_visible(folder: Path) -> Visible:
    """What `write_visible` wrote."""
    shop = shop_folder.read(folder, json.loads((folder / "about.json").read_text("utf-8")))
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        users, cold_items = arrays["users"], arrays["cold_items"]
    if shop.validation is None:
        raise DataError(f"{folder} has no validation part")
    parts = Parts(shop.interactions, shop.validation, None, cold_items)
    return Visible(replace(shop, interactions=parts.known, validation=None), parts, users)
