from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from kgrec import settings
from kgrec.config import Config
from kgrec.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    ridge: float = 10.0
    neighbours: int = 100
    exact: bool = True
    name: str = "all"
    method: Literal["last", "time"] = "last"
    sizes: tuple[int, ...] = (64, 32)
    span: tuple[float, float] = (0.0, 1.0)
    folder: Path | None = None
    limit: int | None = None
    columns: tuple[str, ...] = ()
    share: float | Literal["auto"] = "auto"
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ridge <= 0:
            raise ConfigError(f"ridge is {self.ridge}; it must be above 0")
        if self.limit is not None and self.limit > self.neighbours:
            raise ConfigError(f"limit {self.limit} is above neighbours {self.neighbours}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    seed: int = 7
    ranker: Stage = field(default_factory=Stage)
    text: Stage = field(default_factory=Stage)


def test_what_is_not_named_keeps_its_default() -> None:
    whole = settings.build(Whole, {"ranker": {"ridge": 20, "sizes": [8]}}, "my.toml")
    assert whole == Whole(ranker=Stage(ridge=20.0, sizes=(8,)))
    assert isinstance(whole.ranker.ridge, float)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"rankr": {}}, "my.toml: unknown option 'rankr'; did you mean 'ranker'?"),
        ({"ranker": {"rigde": 1}}, "my.toml ranker: unknown option 'rigde'; did you mean 'ridge'?"),
        ({"ranker": {"ridge": "a"}}, 'my.toml ranker ridge is "a"; expected a number'),
        ({"ranker": {"ridge": True}}, "ridge is true; expected a number"),
        ({"ranker": {"ridge": -1}}, "my.toml ranker: ridge is -1.0; it must be above 0"),
        ({"ranker": {"neighbours": 2.5}}, "neighbours is 2.5; expected a whole number"),
        ({"ranker": {"neighbours": True}}, "neighbours is true; expected a whole number"),
        ({"ranker": {"exact": 1}}, "exact is 1; expected true or false"),
        ({"ranker": {"name": 1}}, "name is 1; expected text"),
        ({"ranker": {"method": "lats"}}, "method is 'lats'; did you mean 'last'?"),
        ({"ranker": {"sizes": 3}}, "sizes is 3; expected a list of whole numbers"),
        ({"ranker": {"sizes": [1, "b"]}}, 'sizes is "b"; expected a whole number'),
        ({"ranker": {"span": [1.0]}}, "span is [1.0]; expected a list of 2 numbers"),
        ({"ranker": {"folder": 3}}, "folder is 3; expected a path or none"),
        ({"ranker": {"limit": "x"}}, 'limit is "x"; expected a whole number or none'),
        ({"ranker": 3}, "my.toml ranker is 3; expected a table"),
        ({"ranker": {"weights": {"a": "b"}}}, 'weights.a is "b"; expected a number'),
    ],
)
def test_what_cannot_be_meant_is_said_with_its_place(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings.build(Whole, table, "my.toml")
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("ranker.ridge=20", "ridge", 20.0),
        ("ranker.ridge = 1e-3", "ridge", 0.001),
        ("ranker.exact=False", "exact", False),
        ("ranker.name=minilm", "name", "minilm"),
        ("ranker.name='mini lm'", "name", "mini lm"),
        ("ranker.name=007", "name", "007"),
        ("ranker.name=12", "name", "12"),
        ("ranker.name=true", "name", "true"),
        ("ranker.method=time", "method", "time"),
        ("ranker.sizes=8,4", "sizes", (8, 4)),
        ("ranker.sizes=8", "sizes", (8,)),
        ("ranker.sizes=[8, 4]", "sizes", (8, 4)),
        ("ranker.sizes=", "sizes", ()),
        ("ranker.span=1,2.5", "span", (1.0, 2.5)),
        ("ranker.folder=a/b", "folder", Path("a/b")),
        ("ranker.limit=none", "limit", None),
        ("ranker.limit=3", "limit", 3),
        ("ranker.columns=title,12", "columns", ("title", "12")),
        ("ranker.share=auto", "share", "auto"),
        ("ranker.share=0.5", "share", 0.5),
    ],
)
def test_an_override_is_read_as_its_field_wants_it(
    assignment: str, name: str, value: object
) -> None:
    assert getattr(settings.override(Whole(), [assignment]).ranker, name) == value


def test_overrides_of_one_stage_are_checked_together() -> None:
    both = ["ranker.limit=300", "ranker.neighbours=400", "seed=3"]
    assert settings.override(Whole(), both) == Whole(
        seed=3, ranker=Stage(limit=300, neighbours=400)
    )


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("ranker.ridge", "'ranker.ridge' sets nothing; write stage.field=value"),
        ("ranker.rigde=2", "ranker.rigde: unknown option 'rigde'; did you mean 'ridge'?"),
        ("rankr.ridge=2", "rankr.ridge: unknown option 'rankr'; did you mean 'ranker'?"),
        ("ranker.ridge.deep=2", "ridge has no options inside it"),
        ("ranker=2", "ranker is 2; expected a table"),
        ("ranker.neighbours=many", 'ranker.neighbours is "many"; expected a whole number'),
        ("ranker.ridge=-2", "ranker.ridge=-2: ridge is -2.0; it must be above 0"),
        ("ranker.method=lats", "did you mean 'last'?"),
    ],
)
def test_an_override_that_cannot_be_is_an_error(assignment: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings.override(Whole(), [assignment])
    assert words in str(error.value)


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda t: t != "none")
_stages = st.builds(
    Stage,
    ridge=st.floats(1e-300, 1e300),
    exact=st.booleans(),
    name=_text,
    method=st.sampled_from(["last", "time"]),
    sizes=st.lists(st.integers(-(2**62), 2**62), max_size=3).map(tuple),
    folder=st.none() | st.just(Path("a b")),
    columns=st.lists(_text, max_size=3).map(tuple),
    weights=st.dictionaries(_text, st.floats(0, 9), max_size=2),
)


@run_settings(max_examples=60)
@given(st.builds(Whole, seed=st.integers(0, 99), ranker=_stages, text=_stages))
def test_toml_and_plain_values_read_back_equal(whole: Whole) -> None:
    assert settings.build(Whole, tomllib.loads(settings.to_toml(whole)), "again") == whole
    assert settings.build(Whole, settings.to_plain(whole), "again") == whole


def test_a_file_and_overrides_make_the_config_of_the_chain(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('seed = 3\n[split]\nmethod = "time"\n[ranker]\nridge = 5\n')
    config = Config.from_toml(file, ["ranker.ridge=20", "network.enabled=false"])
    assert config.seed == 3
    assert config.split.method == "time"
    assert config.ranker.ridge == 20.0
    assert not config.network.enabled
    assert Config.from_toml(None) == Config()


def test_the_config_of_the_chain_reads_back_equal(tmp_path: Path) -> None:
    config = Config().apply_overrides(["seed=11", "text.mode=lora", "load.k_core=5"])
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    (tmp_path / "again.toml").write_text(config.to_toml(), encoding="utf-8")
    assert Config.from_toml(tmp_path / "again.toml") == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[rankr]", "my.toml: unknown option 'rankr'; did you mean 'ranker'?"),
        ("[ranker]\nrigde = 1", "my.toml ranker: unknown option 'rigde'; did you mean 'ridge'?"),
        ("[split]\nmethod = 'leave-last'", "did you mean 'leave-last-out'?"),
        ("[split]\ntest_share = 2.0", "split.test_share is 2.0; it lies between 0 and 1"),
        ("seed = ", "my.toml is no valid TOML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "my.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        Config.from_toml(tmp_path / "my.toml")
    assert words in str(error.value)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the config .*my.toml: No such file"):
        Config.from_toml(tmp_path / "my.toml")


def test_stages_draw_from_the_one_seed_unless_theirs_is_set() -> None:
    config = Config().apply_overrides(["seed=3", "text.seed=5"]).seeded()
    assert (config.split.seed, config.text.seed) == (3, 5)
    assert config.seeded() == config
