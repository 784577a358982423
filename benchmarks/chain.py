"""The whole chain on one data set, with its ablations, beside popularity and a tuned item-kNN.

    python benchmarks/chain.py DATA --set amazon-beauty-2014 [--variants all,no-graph] [--resume]

Each variant is fitted in a process of its own, so that its seconds and its peak memory are its
own. Everything is chosen on validation data; the test part is looked at once a variant. Writes
benchmarks/results/chain-SET.json; `python benchmarks/tables.py` makes the README's tables of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

LEAKY = ("also_bought", "also_viewed", "bought_together")
RESULTS = Path(__file__).parent / "results"
SETS: dict[str, dict[str, Any]] = {
    "amazon-beauty-2014": {"schema": "recbole", "without": LEAKY},
    "amazon-beauty-2014+also": {"folder": "amazon-beauty-2014", "schema": "recbole"},
    "amazon-scientific-2018": {"schema": "amazon-scientific-2018"},
    "amazon-scientific-2018+cold": {
        "folder": "amazon-scientific-2018",
        "schema": "amazon-scientific-2018",
        "options": ("split.cold_item_share=0.1",),
    },
    "taobao-userbehavior": {"schema": "taobao-userbehavior"},
}
VARIANTS: dict[str, tuple[str, ...]] = {
    "all": (),
    "no graph": (),
    "shuffled graph": (),
    "no text": (),
    "W_g alone": ("ranker.sparse=false",),
    "S alone": ("network.enabled=false",),
}
"""Options by variant; the graph and the text of three are changed in `prepare`."""


def prepare(data: Path, name: str, variant: str, seed: int) -> Any:
    """The shop of one variant."""
    import kgrec
    from kgrec.graph import KnowledgeGraph

    about = SETS[name]
    shop = kgrec.load(data / about.get("folder", name), about["schema"])
    shop = replace(shop, graph=shop.graph.without(about.get("without", ())))
    if variant == "no graph":
        shop = replace(shop, graph=KnowledgeGraph(shop.graph.nodes))
    elif variant == "shuffled graph":
        shop = replace(shop, graph=shop.graph.shuffled(seed))
    elif variant == "no text":
        shop = replace(shop, text=None)
    return shop


def measure(data: Path, name: str, variant: str, options: list[str], cache: Path) -> dict[str, Any]:
    """Fits and tests one variant in this process."""
    import numpy as np

    import kgrec
    from kgrec.evaluate import evaluate_model

    began = time.perf_counter()
    config = kgrec.Config.from_toml(
        None, [*SETS[name].get("options", ()), *VARIANTS[variant], *options]
    )
    shop = prepare(data, name, variant, config.seed)
    loaded = time.perf_counter()
    model = kgrec.fit(shop, config, cache=cache)
    fitted = time.perf_counter()
    for first in range(0, len(model.users), 2000):
        model.top_k(np.arange(first, min(first + 2000, len(model.users))), 20)
    listed = time.perf_counter()
    evaluation = evaluate_model(model, (10, 20), baselines=())
    return {
        "groups": {g.name: {"n": g.n_users, **g.metrics} for g in evaluation.models["kgrec"]},
        "chance": {g.name: g.metrics for g in evaluation.models.get("chance", ())},
        "seconds": {
            "load": round(loaded - began, 1),
            "fit": round(fitted - loaded, 1),
            "lists": round(listed - fitted, 1),
        },
        "fit_report": model.fit_report,
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def measure_baselines(data: Path, name: str, options: list[str]) -> dict[str, Any]:
    """Popularity and the item-kNN that validation chooses, on the same split."""
    import kgrec
    from kgrec.baselines import tune_item_knn
    from kgrec.evaluate import evaluate_model
    from kgrec.split import split

    config = kgrec.Config.from_toml(None, [*SETS[name].get("options", ()), *options]).seeded()
    shop = prepare(data, name, "all", config.seed)
    parts = split(shop, config.split)
    tuned, trials = tune_item_knn(parts.train, parts.validation, metric="nDCG@10", rounds=2)
    popular = _Listless(parts.known, parts.test)
    found = evaluate_model(popular, (10, 20), baselines=("popularity", "item-knn"), item_knn=tuned)
    return {
        "models": {
            model: {g.name: {"n": g.n_users, **g.metrics} for g in groups}
            for model, groups in found.models.items()
            if model not in ("kgrec", "chance")
        },
        "item_knn": {"trials": len(trials), "chosen": str(tuned)},
    }


class _Listless:
    """Stands where a model would, so that baselines alone are evaluated."""

    def __init__(self, history: Any, held_out: Any) -> None:
        from kgrec.baselines import Popularity

        self.history, self.held_out, self._model = history, held_out, Popularity(history)

    def top_k(self, users: Any, k: int, **options: Any) -> Any:
        options.pop("allowed", None)
        options["history"] = options.get("history") or self.history
        return self._model.top_k(users, k, **options)


def hardware() -> dict[str, Any]:
    """What the numbers were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "python": platform.python_version(),
    }


def data_hash(folder: Path) -> str:
    """One hash over the names and bytes of a data set."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Runs the variants that are asked for, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--set", required=True, choices=SETS)
    parser.add_argument("--variants", default=",".join(VARIANTS), help="by name, comma between")
    parser.add_argument("--set-option", action="append", default=[], metavar="STAGE.FIELD=VALUE")
    parser.add_argument("--cache", type=Path, default=Path(".bench/cache"))
    parser.add_argument("--resume", action="store_true", help="keep variants measured before")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one == "baselines":
        print(json.dumps(measure_baselines(args.data, args.set, args.set_option)))
        return
    if args.one:
        found = measure(args.data, args.set, args.one, args.set_option, args.cache)
        print(json.dumps(found))
        return
    out = RESULTS / f"chain-{args.set}.json"
    folder = args.data / SETS[args.set].get("folder", args.set)
    result: dict[str, Any] = {"set": args.set, "data_sha256": data_hash(folder), "variants": {}}
    if args.resume and out.exists():
        result = json.loads(out.read_text())
    from kgrec.artefact import library_versions

    result |= {"hardware": hardware(), "versions": library_versions(), "options": args.set_option}
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    result["commit"] = git.stdout.strip()
    for name in ["baselines", *(v.strip() for v in args.variants.split(","))]:
        if name in result["variants"] or (name == "baselines" and "baselines" in result):
            continue
        command = [sys.executable, __file__, str(args.data), "--set", args.set, "--one", name]
        command += ["--cache", str(args.cache)]
        for option in args.set_option:
            command += ["--set-option", option]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        if name == "baselines":
            result["baselines"] = found
        else:
            result["variants"][name] = found
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{args.set}: {name} done", flush=True)


if __name__ == "__main__":
    main()
