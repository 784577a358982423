"""The options that validation likes best, found by Optuna; the same trials for every model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from kgrec.baselines import seen_items
from kgrec.benchmark.model import Choice, Material, Range, Scorer, Space
from kgrec.benchmark.recipe import Options, Recipe
from kgrec.errors import ConfigError, KgrecError, MissingExtraError
from kgrec.interactions import Interactions
from kgrec.progress import track
from kgrec.validation import ndcg_of_scores, unseen

_CELLS = 8_000_000


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration tried."""

    options: Options
    value: float | None
    """None when it failed."""
    seconds: float
    failure: str | None = None
    """What stopped it."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        found = {"options": dict(self.options), "value": self.value, "seconds": self.seconds}
        return found if self.failure is None else found | {"failure": self.failure}


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found."""

    options: Options
    """Those of the best trial."""
    value: float
    """Its metric on validation."""
    tried: tuple[Trial, ...]
    """Every trial in order; the first has the defaults."""
    space: Space
    """What could be chosen."""
    trials_asked: int
    """More than `tried` has when the time ran out, or there was nothing to choose."""
    metric: str

    def to_dict(self) -> dict[str, Any]:
        """As the record of a row has it."""
        return {
            "validation": self.value,
            "trials": len(self.tried),
            "chosen": dict(self.options),
            "space": self.space_dict(),
            "tried": [trial.to_dict() for trial in self.tried],
            "switched_off": [],
        }

    def space_dict(self) -> dict[str, Any]:
        """The space as JSON has it."""
        return {name: describe(kind) for name, kind in self.space.items()}


def describe(kind: Choice | Range) -> list[Any] | dict[str, Any]:
    """A list of values, or the two ends and how the search draws between them."""
    if isinstance(kind, Choice):
        return list(kind.values)
    return {"low": kind.low, "high": kind.high, "log": kind.log, "whole": kind.whole}


class Judges(Protocol):
    """Says how good a model is."""

    def value(self, scorer: Scorer) -> float:
        """The larger the better."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Scores a model on validation: full catalogue, items had removed, ties at the middle rank."""

    history: Interactions
    """Training rows of the users that are asked about."""
    truth: sp.csr_array
    """Their held-out items, (n_users, n_items)."""
    k: int

    @staticmethod
    def of(
        train: Interactions, validation: Interactions, metric: str, max_users: int, seed: int
    ) -> Judge:
        """Takes every user with a history and something new held out, or a sample of them.

        Raises:
            ConfigError: The metric is not nDCG at a depth, or nobody can be asked about.
        """
        name, _, depth = metric.partition("@")
        if name != "nDCG" or not depth.isdigit() or int(depth) < 1:
            raise ConfigError(f"tuning maximises nDCG at a depth, such as nDCG@10, not '{metric}'")
        truth = unseen(validation, train)
        users = np.flatnonzero((np.diff(truth.indptr) > 0) & (np.diff(train.start) > 0))
        if len(users) == 0:
            raise ConfigError(
                "no user has both a history and something new in the validation part; "
                "hold more out, or leave the models with their defaults"
            )
        if len(users) > max_users:
            users = np.random.default_rng(seed).choice(users, max_users, replace=False)
            users.sort()
        return Judge(train.select(users), truth[users], int(depth))

    def value(self, scorer: Scorer) -> float:
        """Mean nDCG@k over the users."""
        total, n = 0.0, self.history.n_users
        batch = max(1, _CELLS // self.history.n_items)
        for begin in range(0, n, batch):
            users = np.arange(begin, min(begin + batch, n))
            own = self.history.select(users)
            scores = scorer.scores(own)
            gained = ndcg_of_scores(scores, seen_items(own), self.truth[users], self.k)
            total += float(gained.sum())
        return total / n


@dataclass(slots=True)
class _Fitter:
    """Fits a baseline; what was prepared last is used again where its options are the same."""

    recipe: Recipe
    history: Interactions
    material: Material
    _key: tuple[Any, ...] | None = None
    _prepared: Any = None

    def scorer(self, options: Options) -> Scorer:
        settled = self.recipe.settle(options)
        key = tuple(value for name, value in settled.items() if name not in self.recipe.cheap)
        if self._prepared is None or key != self._key:
            self._prepared = None  # never two at once
            self._prepared = self.recipe.prepare(self.history, self.material, settled)
            self._key = key
        return self.recipe.finish(self._prepared, settled)


@dataclass(slots=True)
class _Search:
    fitter: _Fitter
    judge: Judges
    known: dict[tuple[Any, ...], Trial] = field(default_factory=dict)

    def run(self, options: Options) -> Trial:
        """Fits and scores one configuration, or remembers it."""
        key = tuple(sorted(options.items()))
        if key not in self.known:
            began = time.perf_counter()
            value, failure = None, None
            try:
                value = self.judge.value(self.fitter.scorer(options))
            except (MemoryError, KgrecError) as error:
                failure = str(error) or "out of memory"
            seconds = round(time.perf_counter() - began, 2)
            self.known[key] = Trial(dict(options), value, seconds, failure)
        return self.known[key]


def tune(
    baseline: Recipe,
    train: Interactions,
    validation: Interactions,
    material: Material,
    *,
    trials: int,
    seconds: float,
    metric: str = "nDCG@10",
    max_users: int = 10_000,
    seed: int = 7,
    judge: Judges | None = None,
) -> Tuned:
    """Searches a baseline's options by a metric on validation users.

    Trials are drawn by a tree-structured Parzen estimator, the defaults first. Every second trial
    changes only what acts at scoring and so needs no new fit, where there is such an option. A
    trial that runs out of memory or is refused counts as one and the search goes on. Time that is
    up ends it after the trial that runs: the same seed finds the same where time does not run out.

    Args:
        baseline: What to tune.
        train: What to fit on.
        validation: What to predict.
        material: Graph, text and seed of the model.
        trials: Most trials, >= 1.
        seconds: No trial starts later than this.
        metric: nDCG at a depth, such as `nDCG@10`; a name for what `judge` says, with one.
        max_users: Validation users asked about; a sample by `seed` where there are more.
        seed: Of the search and the sample.
        judge: Judges in the place of the metric on `validation`.

    Raises:
        ConfigError: The metric or `trials` cannot be meant, or validation holds nothing.
        KgrecError: Every trial failed; the message is the first one's.

    Source: Bergstra et al. 2011 (the estimator); Optuna.
    """
    if trials < 1:
        raise ConfigError(f"trials is {trials}; it must be 1 or more")
    began = time.perf_counter()
    judges = judge or Judge.of(train, validation, metric, max_users, seed)
    search = _Search(_Fitter(baseline, train, material), judges)
    space = baseline.space(train, material)
    first = {name: baseline.defaults[name] for name in space}
    tried: list[Trial] = []
    study = _study(seed) if space else None
    if study is not None:
        study.enqueue_trial(_to_study(space, first))
    for number in track(range(trials if space else 1), f"tuning {baseline.name}"):
        if tried and time.perf_counter() - began > seconds:
            break
        if study is not None and number % 2:
            _keep_fitted(study, baseline, space, tried[-1])
        asked = None if study is None else study.ask()
        trial = search.run(first if asked is None else _from_study(space, asked))
        tried.append(trial)
        if study is not None:
            _tell(study, asked, trial.value)
    done = [trial for trial in tried if trial.value is not None]
    if not done:
        raise KgrecError(f"{baseline.name}: every trial failed; the first: {tried[0].failure}")
    best = max(done, key=lambda trial: trial.value or 0.0)
    return Tuned(best.options, best.value or 0.0, tuple(tried), space, trials, metric)


def _study(seed: int) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("optuna", "benchmark", "tuning a baseline") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _keep_fitted(study: Any, recipe: Recipe, space: Space, last: Trial) -> None:
    """Has the next trial share what the last one prepared, and draw the cheap options alone."""
    costly = {name: kind for name, kind in space.items() if name not in recipe.cheap}
    if last.value is not None and len(costly) < len(space):
        study.enqueue_trial(_to_study(costly, last.options))


def _tell(study: Any, asked: Any, value: float | None) -> None:
    from optuna.trial import TrialState

    if value is None:
        study.tell(asked, state=TrialState.FAIL)
    else:
        study.tell(asked, value)


def _to_study(space: Space, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: kind.values.index(options[name]) if isinstance(kind, Choice) else options[name]
        for name, kind in space.items()
    }


def _from_study(space: Space, asked: Any) -> dict[str, Any]:
    """Values of a choice are drawn by their place, for they stand in order."""
    options: dict[str, Any] = {}
    for name, kind in space.items():
        if isinstance(kind, Choice):
            options[name] = kind.values[asked.suggest_int(name, 0, len(kind.values) - 1)]
        elif kind.whole:
            options[name] = asked.suggest_int(name, int(kind.low), int(kind.high), log=kind.log)
        else:
            options[name] = asked.suggest_float(name, kind.low, kind.high, log=kind.log)
    return options
