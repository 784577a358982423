"""The sentence at the top of a report: who leads, by how much, and how sure that is."""

from __future__ import annotations

from kgrec.benchmark.render_reading import (
    ALPHA,
    Result,
    Row,
    apart,
    best_published,
    figure,
    headline,
    is_done,
    of_kind,
    ours,
    p_words,
    row_named,
    span,
)


def lead(result: Result) -> str:
    """What the suite found, metric by metric, told straight."""
    own = ours(result)
    if own is None:
        return _without_ours(result)
    if not of_kind(result, "baseline"):
        values = ", ".join(f"{m} {figure(own, m):.4f}" for m in headline(result) if figure(own, m))
        return f"{own['name']}: {values}. No baseline was run, so there is nothing to lead."
    sentences = [_compared(result, own, metric) for metric in headline(result)]
    return " ".join([s for s in sentences if s] + _published(result, own) + _stronger(result, own))


def _compared(result: Result, own: Row, metric: str) -> str:
    found = own.get("against", {}).get(metric)
    name = found["baseline"] if found else result.get("best_baseline", {}).get(metric)
    other = row_named(result, name) if name else None
    if other is None or figure(own, metric) is None or figure(other, metric) is None:
        return f"{metric} was not compared."
    values = f"{figure(own, metric):.4f} against {figure(other, metric):.4f}"
    if found:
        p = found.get("p_holm", found.get("p"))
        differs = p is not None and p < ALPHA
        sure = f"95% interval {span(found['low'], found['high'], '+')}, {p_words(p)} after Holm"
        difference = found["difference"]
    else:
        between = apart(own, other, metric)
        if between is None:
            return f"{metric}: {values} of {name}, without intervals."
        difference, low, high = between
        differs = low > 0 or high < 0
        sure = f"95% interval {span(low, high, '+')} from the two rows' own, no paired test"
    by = f"{difference:+.4f}, {sure}"
    if not differs:
        return f"{metric}: {own['name']} and {name} cannot be told apart, {values} ({by})."
    if difference > 0:
        return f"{metric}: {own['name']} leads, {values} of {name}, the best baseline ({by})."
    return f"{metric}: {own['name']} does not lead: {values} of {name} ({by})."


def _published(result: Result, own: Row) -> list[str]:
    """What was published and is above ours; said once, by the first metric that has a figure."""
    for metric in headline(result):
        best, value = best_published(result, metric), figure(own, metric)
        if best is not None and value is not None:
            theirs = best["metrics"][metric]
            where = "above" if theirs > value else "below" if theirs < value else "equal to"
            return [
                f"The highest published {metric} is {theirs:.4f} ({best['model']}, not rerun), "
                f"{where} {own['name']}."
            ]
    return []


def _stronger(result: Result, own: Row) -> list[str]:
    """Ablations that come out above the full model: the part that they lack does not pay."""
    metric = headline(result)[0]
    value = figure(own, metric) or 0.0
    above = [r["name"] for r in of_kind(result, "ablation") if (figure(r, metric) or 0.0) > value]
    if not above:
        return []
    return [f"Above the full model in {metric}: {', '.join(above)}; see what each part gives."]


def _without_ours(result: Result) -> str:
    failed = [row for row in result["rows"] if row["kind"] == "kgrec" and not is_done(row)]
    said = f"kgrec has no figures ({failed[0]['status']})." if failed else "kgrec was not run."
    others = of_kind(result, "baseline")
    if others:
        metric = headline(result)[0]
        said += f" The best baseline by {metric} is {others[0]['name']}, "
        said += f"{figure(others[0], metric) or float('nan'):.4f}."
    return said
