"""Vectors kept by content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec import text_cache
from kgrec.text_cache import TextCache, content_hashes


def vectors_of(texts: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rows = [[len(text), sum(map(ord, text)), 1] for text in texts]
    return np.array(rows, np.float32).reshape(-1, 3)


@settings(max_examples=8)
@given(st.lists(st.text(max_size=8), unique=True, max_size=12), st.data())
def test_what_was_added_is_found_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    cut = data.draw(st.integers(0, len(texts)))
    writer = TextCache(folder, "one", 3)
    for part in (texts[: cut // 2], texts[cut // 2 : cut]):
        writer.add(content_hashes(part), vectors_of(part))
    shuffled = data.draw(st.permutations(texts))
    reader = TextCache(folder, "one", 3)
    vectors, known = reader.find(content_hashes(shuffled))
    assert [text in texts[:cut] for text in shuffled] == known.tolist()
    np.testing.assert_array_equal(vectors[known], vectors_of(shuffled)[known])
    assert not vectors[~known].any()
    assert (reader.stats.hits, reader.stats.misses) == (cut, len(texts) - cut)


def test_another_encoder_finds_nothing(tmp_path: Path) -> None:
    TextCache(tmp_path, "one", 3).add(content_hashes(["tea"]), vectors_of(["tea"]))
    assert not TextCache(tmp_path, "other", 3).find(content_hashes(["tea"]))[1].any()


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_shard_is_said_and_removed(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = TextCache(tmp_path, "one", 3)
    for text in ("tea", "cup"):
        cache.add(content_hashes([text]), vectors_of([text]))
    shard = sorted((tmp_path / "one").glob("*.safetensors"))[0]
    content = shard.read_bytes()
    shard.write_bytes(content[:-3] if damage == "truncated" else content[:-1] + b"x")
    _, known = cache.find(content_hashes(["tea", "cup"]))
    assert known.sum() == 1
    assert "is damaged" in capsys.readouterr().err
    assert not shard.exists()


def test_many_shards_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_cache, "MANY_SHARDS", 3)
    cache = TextCache(tmp_path, "one", 3)
    texts = [f"text {n}" for n in range(4)]
    for text in texts:
        cache.add(content_hashes([text]), vectors_of([text]))
    assert len(list((tmp_path / "one").iterdir())) == 1
    vectors, known = cache.find(content_hashes(texts))
    assert known.all()
    np.testing.assert_array_equal(vectors, vectors_of(texts))


def test_a_stopped_writer_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TextCache(tmp_path, "one", 3)
    cache.add(content_hashes(["tea"]), vectors_of(["tea"]))

    def stop(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        cache.add(content_hashes(["cup"]), vectors_of(["cup"]))
    assert len(list((tmp_path / "one").iterdir())) == 1
    assert cache.find(content_hashes(["tea", "cup"]))[1].tolist() == [True, False]
