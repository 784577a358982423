"""Lists for many users, beside the bare matrix product and top-k in torch, and beside peers.

    python benchmarks/lists_scale.py --items 1000000 --size 128 [--users N] [--methods torch kgrec]
    python benchmarks/lists_scale.py --items 1000000 --size 128 --device cuda

Made vectors in clusters of a hundred items, 20 items of history a user, k 100, what a user has had
left out. Each method runs in a process of its own, in turn, and its clock runs from vectors in
memory to the last list:

- torch: scores of a batch by one matrix product, own items set to -inf, torch.topk; nothing is
  written and users' vectors are given: what the machine can do;
- kgrec: `kgrec.lists.write_lists` with an exact index: users computed from their histories, lists
  in the callers' ids, Parquet;
- implicit: its `recommend` over all users, as arrays;
- recbole: its `full_sort_topk` with its BPR, as arrays, where recbole is installed;
- ivf: as kgrec, with an IVF index probed as far as index_recall 0.95 and 0.99 ask for;
- exact: `kgrec.exact` alone, users' vectors given, own items left out, lists as arrays;
- bare: the matrix product alone, and a large copy within the device's memory.

With `--device cuda` all but implicit and recbole compute there, and bare, torch, exact and kgrec
are measured where no others are asked for; on the processor torch, kgrec, implicit and ivf.

Writes the seconds of each round, the share of torch's speed in the same round, and peak memory to
benchmarks/results/lists-ITEMS-SIZE.json (lists-ITEMS-SIZE-cuda.json). Where bare is measured, also
the share of its product's speed and of its copy's bandwidth that each method reaches; the bytes of
a method are the least that may pass: the items once a batch of users, each score written and read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kgrec.benchmark.limits import own_peak_gib
from kgrec.benchmark.made import commit, hardware

RESULTS = Path(__file__).parent / "results"
K, HISTORY, CLUSTER, BATCH = 100, 20, 100, 1024
COPIES = 20
"""Of a gigabyte, to measure bandwidth."""
RECALLS = (0.95, 0.99)
Vectors = npt.NDArray[np.float32]
Scene = tuple[Vectors, npt.NDArray[np.int64]]


def scene(n_users: int, n_items: int, size: int) -> Scene:
    """Item vectors (n_items, size) and the items of each user (n_users, HISTORY), distinct.

    A user's items come from a few clusters, as people's do: so a list of a hundred can be found
    there, which is what an IVF index is for.
    """
    generator = np.random.default_rng(7)
    centres = generator.standard_normal((n_items // CLUSTER, size)).astype(np.float32)
    cluster = np.arange(n_items) % len(centres)
    items = centres[cluster]
    items += 0.5 * generator.standard_normal(items.shape, np.float32)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    rounds = n_items // len(centres)
    first, step = generator.integers([len(centres), len(centres) // 4], size=(n_users, 2)).T
    liked = (first[:, None] + np.arange(4) * (1 + step)[:, None]) % len(centres)  # four distinct
    place = generator.permuted(np.tile(np.arange(rounds), (n_users, 1)), axis=1)[:, : HISTORY // 4]
    had = (liked[:, :, None] + place[:, None, :] * len(centres)).reshape(n_users, -1)
    return items, np.sort(had, axis=1).astype(np.int64)


def user_vectors(items: Vectors, had: npt.NDArray[np.int64]) -> Vectors:
    """Unit sums of what each user has had, (n_users, size)."""
    summed: Vectors = np.stack([items[row].sum(axis=0) for row in had])
    summed /= np.linalg.norm(summed, axis=1, keepdims=True)
    return summed


def torch_(made: Scene, _: Path, device: str) -> dict[str, float]:
    """The bare product and top-k."""
    import torch

    items, had = made
    users = torch.from_numpy(user_vectors(items, had)).to(device)
    offered, own = torch.from_numpy(items).to(device).T, torch.from_numpy(had).to(device)
    began = started(device)
    for begin in range(0, len(users), BATCH):
        scores = users[begin : begin + BATCH] @ offered
        scores.scatter_(1, own[begin : begin + BATCH], -torch.inf)
        torch.topk(scores, K, dim=1)
    return {"seconds": started(device) - began}


def started(device: str) -> float:
    """The time, once the device has done what it was told."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def bare(made: Scene, _out: Path, device: str) -> dict[str, float]:
    """The matrix product alone, and the bytes a second that a copy reads and writes."""
    import torch

    items, had = made
    users = torch.from_numpy(user_vectors(items, had)).to(device)
    offered = torch.from_numpy(items).to(device).T
    scores = torch.empty((BATCH, len(items)), device=device)
    torch.mm(users[:BATCH], offered, out=scores[: len(users[:BATCH])])  # set-up is not counted
    began = started(device)
    for begin in range(0, len(users), BATCH):
        some = users[begin : begin + BATCH]
        torch.mm(some, offered, out=scores[: len(some)])
    seconds = started(device) - began
    del scores
    source = torch.ones(2**28, device=device)  # 1 GiB
    copy = source.clone()
    began = started(device)
    for _ in range(COPIES):
        copy.copy_(source)
    copied = 2 * COPIES * source.nbytes / (started(device) - began)
    return {"seconds": seconds, "bytes_a_second": copied}


def exact(made: Scene, _: Path, device: str) -> dict[str, float]:
    """The lists of `kgrec.exact`, as arrays."""
    import torch

    from kgrec.exact import ExactSearch

    items, had = made
    users, n = user_vectors(items, had), len(had)
    seen = sp.csr_array(
        (np.ones(had.size, np.float32), had.ravel(), np.arange(n + 1) * had.shape[1]),
        shape=(n, len(items)),
    )
    search = ExactSearch(items, torch.device(device))
    search.top_k(users[:BATCH], K, seen=seen[:BATCH])  # set-up is not counted
    began = started(device)
    for begin in range(0, n, BATCH):
        rows = slice(begin, begin + BATCH)
        search.top_k(users[rows], K, seen=seen[rows])
    return {"seconds": started(device) - began}


def recommender(made: Scene, **index: Any) -> Any:
    """A model with these vectors in its dense half and nothing in S."""
    import polars as pl

    from kgrec.config import Config
    from kgrec.graph import KnowledgeGraph
    from kgrec.interactions import Interactions
    from kgrec.item_index import IndexConfig, ItemIndex
    from kgrec.network import DenseVectors
    from kgrec.ranker import Ranker, offered
    from kgrec.ranker_config import RankerConfig
    from kgrec.recommender import Recommender
    from kgrec.vocabulary import Vocabulary

    items, had = made
    (n, size), n_users = items.shape, len(had)
    ids = Vocabulary([f"item-{i}" for i in range(n)], "item")
    people = Vocabulary([f"user-{i}" for i in range(n_users)], "user")
    history = Interactions.of(
        np.repeat(np.arange(n_users), had.shape[1]), had.ravel(), n_users=n_users, n_items=n
    )
    dense = DenseVectors(items, items, np.eye(size, dtype=np.float32), np.zeros(n, np.float32))
    config, popularity = RankerConfig(), np.ones(n, np.float32)
    vectors = offered(items, dense.bias, popularity, config)
    nothing = sp.csr_array((2 * n, n), dtype=np.float32)
    ranker = Ranker(config, dense, nothing, vectors, popularity, ("history", "last"))
    return Recommender(
        items=ids,
        users=people,
        item_table=pl.DataFrame({"item_id": ids.ids}),
        graph=KnowledgeGraph({"item": ids, "user": people}),
        history=history,
        held_out=None,
        cold_items=np.zeros(0, np.int64),
        ranker=ranker,
        index=ItemIndex.build(vectors, IndexConfig(**index)),
        config=Config(),
    )


def kgrec(made: Scene, out: Path, device: str) -> dict[str, float]:
    """The exact index."""
    from kgrec.lists import write_lists

    model = recommender(made, kind="flat", device=device)
    began = time.perf_counter()
    rows = write_lists(model, out / "lists.parquet", k=K)
    seconds = time.perf_counter() - began
    if rows != len(made[1]) * K:
        raise SystemExit(f"{rows} rows instead of {len(made[1]) * K}")
    return {"seconds": seconds}


def ivf(made: Scene, out: Path, device: str) -> dict[str, float]:
    """The IVF index, probed as far as each recall asks for, found on a thousand users."""
    from kgrec.item_index import index_recall
    from kgrec.lists import write_lists

    began = time.perf_counter()
    model = recommender(made, kind="ivf", device=device)
    found = {"build_seconds": time.perf_counter() - began}
    queries = model.ranker.user_vectors(model.history.select(np.arange(min(1000, len(made[1])))))
    for wanted in RECALLS:
        probes, recall = 1, 0.0
        while recall < wanted and probes <= model.index.n_lists:
            model.index.n_probe = probes
            recall = index_recall(model.index, model.ranker.item_vectors, queries, K)
            probes *= 2
        began = time.perf_counter()
        write_lists(model, out / f"lists-{wanted}.parquet", k=K)
        found[f"seconds_{wanted}"] = time.perf_counter() - began
        found[f"recall_{wanted}"], found[f"probes_{wanted}"] = recall, model.index.n_probe
    return found


def implicit(made: Scene, _: Path, _device: str) -> dict[str, float]:
    """implicit's recommend for all users, own items left out, on the processor."""
    from implicit.cpu.als import AlternatingLeastSquares

    items, had = made
    model = AlternatingLeastSquares(factors=items.shape[1])
    model.item_factors, model.user_factors = items, user_vectors(items, had)
    n = len(had)
    own = sp.csr_matrix(
        (np.ones(had.size, np.float32), had.ravel(), np.arange(n + 1) * had.shape[1]),
        shape=(n, len(items)),
    )
    began = time.perf_counter()
    for begin in range(0, n, BATCH):
        users = np.arange(begin, min(begin + BATCH, n))
        model.recommend(users, own[users], N=K, filter_already_liked_items=True)
    return {"seconds": time.perf_counter() - began}


def recbole(made: Scene, _: Path, _device: str) -> dict[str, float]:
    """RecBole's full_sort_topk with its BPR, own items left out; its item 0 is a padding."""
    import torch
    from recbole.model.general_recommender.bpr import BPR
    from recbole.utils.case_study import full_sort_topk

    items, had = made
    n, counts = len(had), {"user": len(had), "item": len(items) + 1}
    data = SimpleNamespace(
        uid_field="user", item_num=len(items) + 1, num=counts.get, join=lambda users: users
    )
    config = {
        "USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "NEG_PREFIX": "neg_", "device": "cpu",
        "embedding_size": items.shape[1],
    }  # fmt: skip
    model = BPR(config, data)
    with torch.no_grad():
        model.item_embedding.weight[1:] = torch.from_numpy(items)
        model.user_embedding.weight[:] = torch.from_numpy(user_vectors(items, had))
    own = np.empty(n, object)
    own[:] = list(torch.from_numpy(had + 1))
    test = SimpleNamespace(dataset=data, is_sequential=False, uid2history_item=own)
    began = time.perf_counter()
    for begin in range(0, n, BATCH):
        full_sort_topk(np.arange(begin, min(begin + BATCH, n)), model, test, K)
    return {"seconds": time.perf_counter() - began}


METHODS: dict[str, Callable[[Scene, Path, str], dict[str, float]]] = {
    "torch": torch_, "kgrec": kgrec, "implicit": implicit, "recbole": recbole, "ivf": ivf,
    "exact": exact, "bare": bare,
}  # fmt: skip
USUAL = {"cpu": ["torch", "kgrec", "implicit", "ivf"], "cuda": ["bare", "torch", "exact", "kgrec"]}


def shares(
    rounds: list[dict[str, dict[str, float]]], args: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Of the bare product's speed and of the copy's bandwidth, medians over the rounds."""
    batches = -(-args.users // BATCH)
    least_bytes = 4 * args.items * (batches * args.size + 2 * args.users)
    found: dict[str, dict[str, float]] = {"product": {}, "bandwidth": {}}
    for method in args.methods:
        if method in ("bare", "ivf") or "bare" not in args.methods:
            continue
        took = [(one["bare"], one[method]["seconds"]) for one in rounds]
        product = median(bare["seconds"] / seconds for bare, seconds in took)
        bandwidth = median(least_bytes / seconds / bare["bytes_a_second"] for bare, seconds in took)
        found["product"][method] = round(product, 3)
        found["bandwidth"][method] = round(bandwidth, 3)
    return found


def measure(method: str, args: argparse.Namespace) -> dict[str, float]:
    """What one method took in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, __file__, "--method", method, "--out", out]
        for name in ("users", "items", "size", "device"):
            command += [f"--{name}", str(getattr(args, name))]
        # implicit has threads of its own and asks for a BLAS without
        alone = {"OPENBLAS_NUM_THREADS": "1"} if method == "implicit" else {}
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | alone
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measures, or runs one method where another process asked for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, help="default: as many as take a minute or so")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=list(USUAL), default="cpu")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), help="see above")
    parser.add_argument("--method", choices=list(METHODS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.users = args.users or max(1024, 10**12 // (args.items * args.size) // 1024 * 1024)
    args.methods = args.methods or USUAL[args.device]
    if args.method:
        made = scene(args.users, args.items, args.size)
        found = METHODS[args.method](made, args.out, args.device)
        print(json.dumps(found | {"peak_gib": round(own_peak_gib(), 2)}))
        return
    rounds = []
    for _ in range(args.repeats):
        rounds.append({method: measure(method, args) for method in args.methods})
        print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    result = {
        "users": args.users, "items": args.items, "size": args.size, "k": K, "rounds": rounds,
        "share_of_torch": {
            method: round(
                median(one["torch"]["seconds"] / one[method]["seconds"] for one in rounds), 3
            )
            for method in args.methods
            if "torch" in args.methods and method not in ("ivf", "bare")
        },
        "commit": commit(), "hardware": hardware(),
    }  # fmt: skip
    if "bare" in args.methods:
        result |= {f"share_of_{name}": found for name, found in shares(rounds, args).items()}
    if args.device == "cuda":
        import torch

        result["hardware"]["gpu"] = torch.cuda.get_device_name()
    RESULTS.mkdir(exist_ok=True)
    where = "" if args.device == "cpu" else f"-{args.device}"
    path = RESULTS / f"lists-{args.items}-{args.size}{where}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k.startswith("share_of_")}, indent=1))


if __name__ == "__main__":
    main()
