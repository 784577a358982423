"""Numbers for ids: every id comes back as it was, numbered in the order of first appearance."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.id_codes import NONE, Coder

IDS = st.one_of(
    st.none(),
    st.text(max_size=4),
    st.integers(-100, 2**70).map(str),
    st.sampled_from(["007", "+7"]),
)


def test_whole_numbers_and_texts_share_their_numbers() -> None:
    coder = Coder()
    ids = pl.Series(["7", "007", "a", None, "-5", "0", "", "7", " 7", "9223372036854775808"])
    codes = coder.code(ids)
    assert codes.tolist() == [0, 1, 2, NONE, 3, 4, 5, 0, 6, 7]
    assert coder.ids(codes).to_list() == ids.to_list()
    assert len(coder) == 8
    assert coder.code(pl.Series([], dtype=pl.String)).tolist() == []


@settings(max_examples=50)
@given(st.lists(st.lists(IDS, max_size=30), max_size=5))
def test_ids_round_trip_in_the_order_of_their_first_appearance(batches: list[list[str]]) -> None:
    coder, seen = Coder(), dict[str, int]()
    for batch in batches:
        codes = coder.code(pl.Series(batch, dtype=pl.String))
        for value, code in zip(batch, codes, strict=True):
            assert code == (NONE if value is None else seen.setdefault(value, len(seen)))
    every = np.arange(len(seen), dtype=np.int32)
    assert coder.ids(every).to_list() == list(seen)


def test_many_ids_in_many_batches() -> None:
    coder = Coder()
    numbers = np.random.default_rng(7).integers(0, 2**62, 20_000)
    ids = pl.Series(numbers).cast(pl.String)
    first = coder.code(ids)
    again = np.concatenate(
        [coder.code(part.to_series()) for part in ids.to_frame().iter_slices(999)]
    )
    assert (first == again).all()
    assert (first == np.arange(20_000)).all()
    assert coder.ids(first).equals(ids)
