"""A small result.json made by hand, for tests of what is made of one."""

from __future__ import annotations

import copy
from typing import Any

Result = dict[str, Any]


def figures(mean: float, half: float, std: float | None = None) -> dict[str, float | None]:
    return {"mean": mean, "low": mean - half, "high": mean + half, "std": std}


def seed_entry(seed: int, recall: float, tune: float = 0.0, **more: Any) -> dict[str, Any]:
    return {
        "seed": seed,
        "metrics": {"recall@20": recall, "nDCG@20": recall / 2, "hit_rate@10": recall * 0.8,
                    "coverage@20": 0.5, "novelty@20": 9.5},
        "seconds": {"load": 1.0, "tune": tune, "fit": 12.0, "lists": 3.0},
        "peak_gib": 1.25,
        "validation": recall / 2 + 0.01,
        "trials": 0,
        "trials_asked": 0,
        "chosen": {},
        "space": {},
        "tried": [],
        "switched_off": [],
        "lists": "rows/x/lists.parquet",
        "lists_sha256": "ab" * 32,
    } | more  # fmt: skip


def row(name: str, kind: str, recall: float, **more: Any) -> dict[str, Any]:
    random, tune, did = more.pop("random", False), more.pop("tune", 40.0), more.pop("did", {})
    std = 0.001 if random else None
    return {
        "name": name,
        "kind": kind,
        "about": f"what {name} is",
        "source": "a paper 1999",
        "random": random,
        "status": "done",
        "reason": "",
        "seeds": [seed_entry(s, recall, tune, **did) for s in ((7, 8, 9) if random else (7,))],
        "metrics": {
            "recall@20": figures(recall, 0.004, std),
            "nDCG@20": figures(recall / 2, 0.002, std),
            "hit_rate@10": figures(recall * 0.8, 0.004, std),
            "coverage@20": {"mean": 0.5, "low": None, "high": None, "std": None},
            "novelty@20": {"mean": 9.5, "low": None, "high": None, "std": None},
        },
        "groups": {
            "users: history of 1 to 3": {"n": 120, "metrics": {"recall@20": recall - 0.01,
                                                               "nDCG@20": recall / 2}},
            "items: cold": {"n": 9, "metrics": {"recall@20": 0.01, "nDCG@20": 0.005}},
        },
    } | more  # fmt: skip


def beside(baseline: str, difference: float, half: float, p: float, p_holm: float) -> Result:
    return {"baseline": baseline, "difference": difference, "low": difference - half,
            "high": difference + half, "p": p, "p_holm": p_holm}  # fmt: skip


OURS = {
    "chosen": {"ridge": 30.0, "text_weight": 0.0},
    "space": {"ridge": [3.0, 10.0, 30.0], "text_weight": {"low": 0.0, "high": 12.0, "log": False,
                                                          "whole": False}},
    "trials": 3,
    "trials_asked": 3,
    "switched_off": ["text_weight"],
    "tried": [
        {"options": {"ridge": 3.0, "text_weight": 1.0}, "value": 0.10, "seconds": 2.0},
        {"options": {"ridge": 3.0, "text_weight": 0.0}, "value": 0.09, "seconds": 2.5},
        {"options": {"ridge": 30.0, "text_weight": 0.0}, "value": 0.11, "seconds": 2.0},
    ],
}  # fmt: skip


def result() -> Result:
    """Three baselines, ours with one ablation, a row that ran out of memory."""
    rows = [
        row("kgrec", "kgrec", 0.20, random=True, did=OURS, against={
            "recall@20": beside("EASE", 0.02, 0.003, 1e-7, 3e-7),
            "nDCG@20": beside("EASE", 0.01, 0.002, 1e-5, 2e-5),
        }),
        row("no graph", "ablation", 0.19, random=True, against={
            "recall@20": beside("EASE", 0.01, 0.012, 0.1, 0.3),
        }),
        row("popularity", "baseline", 0.03, tune=0.0),
        row("item-kNN", "baseline", 0.15),
        row("EASE", "baseline", 0.18, did={"chosen": {"ridge": 200.0},
                                           "space": {"ridge": {"low": 1.0, "high": 1e4,
                                                               "log": True, "whole": False}},
                                           "trials": 3, "trials_asked": 3}),
        row("LightGCN", "baseline", 0.1) | {
            "status": "out of memory", "reason": "more than 4.0 GiB", "seeds": [], "metrics": {},
            "groups": {},
        },
    ]  # fmt: skip
    return copy.deepcopy(
        {
            "format": 1,
            "suite": {
                "name": "tiny",
                "title": "Tiny, leave-last-out",
                "about": "A shop of four hundred users.",
                "protocol": "The last interaction of a user is tested, the one before validates.",
                "headline": ["recall@20", "nDCG@20"],
                "ks": [10, 20],
                "published": [
                    {"model": "KGRec", "source": "Yang et al. 2023, table 2",
                     "metrics": {"recall@20": 0.1724, "nDCG@20": 0.0973},
                     "note": "another graph"},
                    {"model": "KGAT", "source": "Wang et al. 2019",
                     "metrics": {"recall@20": 0.1489}, "note": ""},
                ],
                "notes": ["No times: views may come after the buy."],
            },
            "made": {
                "kgrec": "0.2.0",
                "commit": "c" * 40,
                "date": "2026-01-02",
                "command": "kgrec benchmark tiny --data data --out out",
                "hardware": {"cores": 2, "memory_gib": 24, "processor": "x", "python": "3.11.9"},
                "versions": {"numpy": "2.0", "torch": "2.9"},
                "data_sha256": "d" * 64,
                "options": ["seed=7"],
                "seeds": [7, 8],
                "trials": 30,
            },
            "data": {"users": 400, "items": 90, "train": 3000, "validation": 400, "test": 400,
                     "test_users": 400, "cold_items": 3, "behaviours": {"buy": 3000, "view": 800},
                     "ordered": True},
            "warnings": ["12 rows were left out"],
            "leaks": [{"relation": "also_bought", "lift": 8.1, "lift_low": 6.5, "may_leak": True,
                       "suspect": True},
                      {"relation": "same_shelf", "lift": 1.2, "lift_low": 0.9, "may_leak": False,
                       "suspect": False}],
            "graph": {
                "name": "tiny",
                "nodes": {"item": 90, "user": 400, "brand": 12},
                "relations": [{"name": "has_brand", "head": "item", "tail": "brand", "n_edges": 80,
                               "item_coverage": 0.89, "mean_degree": 1.0, "hubs": [],
                               "may_leak": False}],
                "behaviours": [],
                "text_coverage": 0.97,
                "components": {"n_components": 3, "largest": 480, "largest_share": 0.96,
                               "items_in_largest": 0.99},
            },
            "rows": rows,
            "best_baseline": {"recall@20": "EASE", "nDCG@20": "EASE"},
            "openings": {"kgrec seed 7": 1, "kgrec seed 8": 1, "kgrec seed 9": 1, "EASE seed 7": 2},
        }
    )  # fmt: skip


def pairs_result() -> Result:
    """A suite of labelled pairs: AUC, no lists, no groups, no published figures."""
    made = result()
    made["suite"] |= {"name": "pairs", "headline": ["AUC"], "ks": [], "published": []}
    made["best_baseline"] = {"AUC": "EASE"}
    made["rows"] = [r for r in made["rows"] if r["name"] in ("kgrec", "EASE")]
    for at, one in enumerate(made["rows"]):
        value = 0.76 - 0.05 * at
        one |= {"metrics": {"AUC": figures(value, 0.01), "F1": figures(value - 0.1, 0.01)},
                "groups": {}}  # fmt: skip
        one.pop("against", None)
        for seed in one["seeds"]:
            seed["metrics"] = {"AUC": value, "F1": value - 0.1}
            seed.pop("lists")
    for key in ("leaks", "graph", "openings", "warnings"):
        made.pop(key)
    return made


def folds_result() -> Result:
    """A suite whose seeds are folds that keep items out."""
    made = result()
    cold, warm = "recall@20 on cold items", "recall@20 on warm items"
    made["suite"] |= {"name": "cold", "headline": [cold, warm]}
    made["best_baseline"] = {cold: "EASE", warm: "EASE"}
    for one in made["rows"]:
        one.pop("against", None)
        for at, seed in enumerate(one["seeds"]):
            seed["fold"] = at
            seed["metrics"] = {cold: 0.1, warm: 0.15}
        if one["status"] == "done":
            recall = one["metrics"]["recall@20"]["mean"]
            one["metrics"] = {cold: figures(recall / 2, 0.004), warm: figures(recall, 0.004)}
    return made


def one_row_result() -> Result:
    """Ours alone, on tables without anything else."""
    made = result()
    made["rows"] = made["rows"][:1]
    made["rows"][0].pop("against")
    made["best_baseline"] = {}
    made["suite"]["published"] = []
    made["leaks"] = []
    return made
