"""A whole suite: files checked, rows fitted one after another, each in a process, lists scored."""

from __future__ import annotations

import shutil
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from kgrec.atomic import claim
from kgrec.benchmark.files import Found, find_data
from kgrec.benchmark.jobs import fitted, row_folder
from kgrec.benchmark.model import Material
from kgrec.benchmark.pairs import SealedPairs, cut_pairs, write_pairs
from kgrec.benchmark.plan import Row, choose, plan
from kgrec.benchmark.rows import EMBEDDINGS, LISTS, SCORES, find_baselines
from kgrec.benchmark.sealed import SealedTest, visible
from kgrec.benchmark.state import Benchmark, Options, Run, Scene
from kgrec.benchmark.suite import Suite
from kgrec.benchmark.visible import write_visible
from kgrec.config import Config
from kgrec.progress import say
from kgrec.shop import Shop
from kgrec.split import method_of, split


def run_suite(suite: Suite, options: Options) -> dict[str, Any]:
    """Runs a suite, or the rest of it, and writes everything under `options.out`.

    Args:
        suite: What to run.
        options: On what, where to, and what differs from the suite.

    Returns:
        What result.json holds.

    Raises:
        DataError: A file is missing.
        ConfigError: An option is unknown or out of range, or a row is.
        KgrecError: The split leaks, or `out` belongs to another benchmark.
    """
    suite = settled(suite, options)
    found = find_data(suite, options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    with claim(options.out / "result.json"):
        bench = Benchmark(suite, options, found, _load(suite, options, found))
        bench.warnings += [f"{name} is absent, and optional" for name in found.absent]
        bench.warnings += list(bench.shop.report.warnings)
        if suite.task == "click":
            _cut_pairs(bench)
        else:
            _cut(bench)
        _embed(bench)
        baselines = find_baselines(options.catalogue)
        rows, left_out = plan(
            suite, bench.scenes[0].parts.known, _material(bench), baselines, _has_text(bench.shop)
        )
        bench.warnings += [f"left out, {why}" for why in left_out]
        bench.rows = rows
        wanted = {row.name for row in choose(rows, options.rows)}
        _run_rows(bench, wanted)
        result = _finish(bench)
        shutil.rmtree(options.out / "visible", ignore_errors=True)
    return result


def settled(suite: Suite, options: Options) -> Suite:
    """The suite with what the options change."""
    changes = {
        name: value
        for name in ("trials", "seeds", "seconds", "memory_gib")
        if (value := getattr(options, name)) is not None
    }
    if cuts := [o for o in options.overrides if o.strip().startswith("split.")]:
        changes["split"] = replace(Config(), split=suite.split).apply_overrides(cuts).split
    return replace(suite, **changes)


def _load(suite: Suite, options: Options, found: Found) -> Shop:
    from kgrec.loading import load

    shop = load(found.data, suite.schema, Config.from_toml(None, options.overrides).load)
    names = {relation.name for relation in shop.graph.relations}
    absent = [name for name in suite.without if name not in names]
    if absent:
        say(f"benchmark: the graph has no {', '.join(absent)} to leave out")
    return replace(shop, graph=shop.graph.without(suite.without))


def _cut(bench: Benchmark) -> None:
    suite, out = bench.suite, bench.options.out
    for fold in range(suite.folds) if suite.folds else (None,):
        config = suite.split if fold is None else replace(suite.split, cold_item_fold=fold)
        parts = split(bench.shop, config)
        n_later = 0 if parts.later is None else len(parts.later)
        sealed = SealedTest(
            bench.shop, parts, suite.ks,
            method=method_of(bench.shop, config), openings=out / "openings.json", fold=fold,
        )  # fmt: skip
        folder = out / "visible" / ("all" if fold is None else f"fold-{fold}")
        folder.parent.mkdir(exist_ok=True)
        write_visible(folder, bench.shop, visible(parts), sealed.users)
        bench.scenes.append(Scene(visible(parts), sealed, folder, fold, n_later))
    n_repeats = sum(scene.sealed.n_repeats for scene in bench.scenes)
    if n_repeats:
        bench.warnings.append(
            f"{n_repeats:,} held-out pairs are repeat purchases; lists leave out what a user has, "
            "so they do not count"
        )
    n_late = bench.scenes[0].n_left_out
    if n_late:
        bench.warnings.append(f"{n_late:,} rows of after the cut are in no part")


def _cut_pairs(bench: Benchmark) -> None:
    suite, out = bench.suite, bench.options.out
    pairs = cut_pairs(bench.shop, suite.split)
    sealed = SealedPairs(bench.shop, pairs, openings=out / "openings.json")
    folder, file = out / "visible" / "all", out / "visible" / "pairs.npz"
    folder.parent.mkdir(exist_ok=True)
    write_visible(folder, bench.shop, pairs.parts, sealed.users)
    write_pairs(file, pairs)
    bench.scenes.append(Scene(pairs.parts, sealed, folder, None, 0, file, len(pairs.validation)))
    if sealed.n_repeats:
        bench.warnings.append(f"{sealed.n_repeats:,} rows label a pair again and are left out")


def _embed(bench: Benchmark) -> None:
    """Text embeddings once, in a process of their own, for every baseline to read."""
    if not _has_text(bench.shop):
        return
    row = Row("text embeddings", "text", "", "", False)
    # The encoder is as it came, so every fold has the same ones.
    record = fitted(bench, bench.scenes[0], row, bench.suite.seeds[0], wanted=True)
    if record is None or record["status"] != "done":
        (bench.options.out / "cache" / EMBEDDINGS).unlink(missing_ok=True)
        why = "" if record is None else f"{record['status']}: {record['reason']}"
        bench.warnings.append(f"no text embeddings for the baselines: {why}")


def _material(bench: Benchmark) -> Material:
    path = bench.options.out / "cache" / EMBEDDINGS
    text = np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None
    return Material(bench.shop.graph, text)


def _has_text(shop: Shop) -> bool:
    return shop.text is not None and bool((shop.text.fill_null("").str.strip_chars() != "").any())


def _run_rows(bench: Benchmark, wanted: Container[str]) -> None:
    """Every row, `jobs` of them at a time; the runs end up in the order of the table."""
    if bench.options.jobs == 1:
        for row in bench.rows:
            _run_row(bench, row, wanted=row.name in wanted)
        return
    with ThreadPoolExecutor(bench.options.jobs) as pool:
        pending = [
            pool.submit(_run_row, bench, row, wanted=row.name in wanted) for row in bench.rows
        ]
        try:
            for done in pending:
                done.result()
        except BaseException:
            bench.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    place = {row.name: n for n, row in enumerate(bench.rows)}
    bench.runs.sort(key=lambda run: place[run.row.name])


def _run_row(bench: Benchmark, row: Row, *, wanted: bool) -> None:
    """Fits a row under each seed, or in each fold; a seed that does not end is the last."""
    suite = bench.suite
    n_seeds = suite.ablation_seeds if row.kind == "ablation" else len(suite.seeds)
    seeds = suite.seeds[: n_seeds if row.random and not suite.folds else 1]
    for scene in bench.scenes:
        for seed in seeds:
            record = fitted(bench, scene, row, seed, wanted=wanted)
            if record is None:
                return
            scored, file = None, SCORES if scene.pairs else LISTS
            if record["status"] == "done":
                path = row_folder(bench, scene, row, seed) / file
                with bench.scoring:
                    scored = scene.sealed.score(row.name, seed, path)
            bench.runs.append(Run(row, seed, scene.fold, record, scored, file))
            say(_line(bench, bench.runs[-1]))
            if scored is None:
                return


def _line(bench: Benchmark, run: Run) -> str:
    which = f"seed {run.seed}" if run.fold is None else f"fold {run.fold}"
    start = f"benchmark: {run.row.name}, {which}: "
    seconds = sum(run.record["seconds"].values())
    cost = f"{seconds:,.0f} s, {run.record['peak_gib']:.1f} GiB"
    if run.scored is None:
        return f"{start}{run.record['status']} after {cost}: {run.record['reason']}"
    values = (
        f"{name} {float(np.nanmean(run.scored.per_user[name])):.4f}"
        for name in bench.suite.headline
    )
    return f"{start}{', '.join(values)} ({cost})"


def _finish(bench: Benchmark) -> dict[str, Any]:
    from kgrec.benchmark.result import build_result, write_result

    result = build_result(bench)
    write_result(result, bench)
    return result
