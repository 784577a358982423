"""The report says what the result says, in Markdown and in HTML, whatever parts there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from benchmark_result import (
    beside,
    folds_result,
    one_row_result,
    pairs_result,
    result,
    row,
)
from test_report import Balance

from kgrec.benchmark.render import html, markdown
from kgrec.benchmark.render_headline import lead
from kgrec.benchmark.render_reading import apart

KINDS = [result, pairs_result, folds_result, one_row_result]


def least() -> dict[str, Any]:
    """Nothing but what no result can lack."""
    return {
        "format": 1,
        "suite": {"name": "x", "title": "X", "headline": ["recall@20"]},
        "rows": [{"name": "kgrec", "kind": "kgrec", "status": "failed", "seeds": []}],
    }


@pytest.mark.parametrize("make", [*KINDS, least])
def test_every_kind_of_result_has_both_reports(make: Callable[[], dict[str, Any]]) -> None:
    made = make()
    page = html(made)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert all(value.startswith("data:image/svg+xml") for value in parser.values)
    assert "http" not in page.replace("http-equiv", "")
    text = markdown(made)
    assert text.startswith(f"# {made['suite']['title']}\n")
    assert "None" not in text
    assert "nan" not in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(bars) == 1


def test_the_headline_of_a_leader() -> None:
    said = lead(result())
    assert "recall@20: kgrec leads, 0.2000 against 0.1800 of EASE, the best baseline" in said
    assert "(+0.0200, 95% interval [+0.0170, +0.0230], p < 0.0001 after Holm)" in said
    assert "The highest published recall@20 is 0.1724 (KGRec, not rerun), below kgrec." in said


def test_the_headline_when_it_does_not_lead_or_nobody_can_tell() -> None:
    made = result()
    made["rows"][0]["against"]["recall@20"] = beside("EASE", -0.02, 0.003, 1e-7, 3e-7)
    made["rows"][0]["against"]["nDCG@20"] = beside("EASE", 0.01, 0.02, 0.3, 0.6)
    said = lead(made)
    assert "recall@20: kgrec does not lead" in said
    assert "nDCG@20: kgrec and EASE cannot be told apart" in said
    assert "p = 0.6000 after Holm" in said


def test_the_headline_without_a_paired_test_uses_the_rows_own_intervals() -> None:
    said = lead(folds_result())
    assert "cannot" not in said
    assert "[+0.0043, +0.0157] from the two rows' own, no paired test" in said


def test_the_headline_without_ours_or_without_baselines() -> None:
    made = result()
    made["rows"][0] |= {"status": "out of time", "metrics": {}, "seeds": []}
    assert lead(made).startswith("kgrec has no figures (out of time). The best baseline by recall")
    made["rows"] = made["rows"][2:]
    assert lead(made).startswith("kgrec was not run.")
    assert "nothing to lead" in lead(one_row_result())


def test_an_ablation_above_the_full_model_is_said_at_the_top() -> None:
    made = result()
    made["rows"].append(row("no text", "ablation", 0.21))
    assert "Above the full model in recall@20: no text" in lead(made)


def test_failed_and_published_rows_say_so() -> None:
    text = markdown(result())
    assert "| LightGCN: out of memory |" in text
    assert "more than 4.0 GiB" in text
    assert "| KGRec (published, not rerun) | 0.1724 | 0.0973 |" in text
    assert "Yang et al. 2023, table 2; another graph" in text
    assert "| **kgrec** | 0.2000 [0.1960, 0.2040] |" in text


def test_trials_are_shown_where_something_was_tuned() -> None:
    made = result()
    made["rows"][4]["seeds"][0]["trials"] = 2
    text = markdown(made)
    assert "| EASE | 40.0 | 12.0 | 3.0 | 55.0 | 1.25 | 2 of 3 | 1 |" in text
    assert "| popularity | 0.0 | 12.0 | 3.0 | 15.0 | 1.25 |  | 1 |" in text


def test_ablations_are_measured_from_the_full_model() -> None:
    text = markdown(result())
    assert "| no graph | 0.1900 | -0.0100 [-0.0157, -0.0043] |" in text
    made = result()
    made["rows"][1]["to_full"] = {"recall@20": beside("kgrec", -0.01, 0.002, 0.001, 0.002)}
    text = markdown(made)
    assert "-0.0100 [-0.0120, -0.0080], p = 0.0020" in text
    assert "paired by user, p after Holm." in text


def test_what_was_searched_and_chosen() -> None:
    text = markdown(result())
    assert "| kgrec | seed 7 | ridge 30; text_weight 0 | text_weight |" in text
    assert "ridge: 1 to 1e+04, log" in text
    assert "3 trials took the validation figure from 0.1000 to 0.1100" in text
    assert "| 3 | ridge 3 to 30, text_weight 1 to 0 | 0.1100 | 0.1100 | yes |" in text


def test_a_long_ladder_shows_the_steps_that_counted() -> None:
    made = result()
    tried = [{"options": {"ridge": float(at)}, "value": 0.1 - at * 1e-4} for at in range(100)]
    made["rows"][0]["seeds"][0]["tried"] = [*tried, {"options": {"ridge": 7.0}, "value": 0.2}]
    text = markdown(made)
    assert "better than all before" in text
    assert "| 101 | ridge 0 to 7 |" in text
    assert "| 50 |" not in text


def test_a_trial_that_failed_is_left_out_and_only_what_was_searched_is_shown() -> None:
    made = result()
    seed = made["rows"][0]["seeds"][0]
    seed["tried"].insert(1, {"options": {"ridge": 9.0}, "value": None, "seconds": 1.0})
    seed["chosen"]["neighbours"] = 100
    text = markdown(made)
    assert "3 trials took the validation figure" in text
    assert "neighbours" not in text


def test_what_to_distrust_is_said() -> None:
    text = markdown(result())
    assert "opened more than once for: EASE seed 7 (2 times)" in text
    assert "validation part, these relations may know what is held out: also_bought." in text
    assert "Warning: 12 rows were left out" in text
    assert "views may come after the buy" in text
    made = result()
    made["openings"]["EASE seed 7"] = 1
    made["leaks"] = made["leaks"][1:]
    text = markdown(made)
    assert "opened 4 times, once for each of 4" in text
    assert "validation part, no relation between items joins" in text


def test_names_are_escaped() -> None:
    made = result()
    made["rows"][2]["name"] = "a|b<i>"
    assert "a\\|b&lt;i>" in markdown(made)
    assert "a|b&lt;i&gt;" in html(made)


def test_charts_show_each_row_that_ended() -> None:
    page = html(result())
    assert page.count("<img") == 3
    assert 'alt="recall@20 against seconds, each row a point."' in page


def test_the_interval_of_unpaired_rows_is_by_hand() -> None:
    found = apart(row("a", "baseline", 0.3), row("b", "baseline", 0.1), "recall@20")
    assert found == pytest.approx((0.2, 0.2 - 0.004 * 2**0.5, 0.2 + 0.004 * 2**0.5))
