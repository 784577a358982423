"""Where the tasks of a stage run: here one after another, or on the processes of a Ray cluster.

A task is a function of what all tasks of a stage share and of what is its own. It does not know
where it runs, so every engine gives the same results. A training is one task for several
processes, which add up their gradients.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from kgrec.errors import ConfigError, KgrecError, MissingExtraError
from kgrec.progress import say

if TYPE_CHECKING:
    from kgrec.data_parallel import Group

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")

RETRIES = 3
"""How often a task is begun again because the process that did it died."""


class Engine(Protocol):
    """Runs the tasks of a stage."""

    def map(
        self, function: Callable[[Shared, Task], Result], tasks: Sequence[Task], shared: Shared
    ) -> Iterator[tuple[int, Result]]:
        """Results in the order in which they are finished.

        Args:
            function: Of a module, and the same however often and wherever it is called.
            tasks: What is each call's own.
            shared: What all calls read; none may write to its arrays.

        Yields:
            The position of a task, and its result.
        """

    def together(self, function: Callable[[Group, Shared], Result], shared: Shared) -> Result:
        """What a function gives on the first of the processes that run it at once.

        Args:
            function: Of a module. It is told which process it runs in, and when one has died it
                is called anew on all, to go on from what it saved.
            shared: What all read; none may write to its arrays.
        """


class LocalEngine:
    """Runs one task after another in this process, which may use every core for each."""

    def map(
        self, function: Callable[[Shared, Task], Result], tasks: Sequence[Task], shared: Shared
    ) -> Iterator[tuple[int, Result]]:
        """Results in the order of the tasks; see `Engine`."""
        for number, task in enumerate(tasks):
            yield number, function(shared, task)

    def together(self, function: Callable[[Group, Shared], Result], shared: Shared) -> Result:
        """What the function gives in this process; see `Engine`."""
        from kgrec.data_parallel import ALONE

        return function(ALONE, shared)


LOCAL = LocalEngine()


class RayEngine:
    """Spreads tasks over the worker processes of a Ray cluster, one thread each; use it in `with`.

    What tasks share lies in the object store, whose arrays the workers of a machine read in place.
    A task whose worker dies is done again by another. A cluster that this process has joined
    already is used as it is and left as it was.

    Args:
        address: Of the cluster, as Ray has it; None starts one on this machine, which ends with
            the engine.
        workers: Processes of a cluster that is started; None for one a core.
        training_workers: Processes that train the graph network together; 1 trains in this one.

    Raises:
        ConfigError: `training_workers` is below 1.
        MissingExtraError: Ray is not installed.
        KgrecError: On entering: no cluster can be joined.
    """

    def __init__(
        self, address: str | None = None, workers: int | None = None, training_workers: int = 1
    ) -> None:
        if training_workers < 1:
            raise ConfigError(f"training_workers is {training_workers}; it must be 1 or more")
        self._ray = _ray()
        self._address, self._workers = address, workers
        self._training_workers = training_workers
        self._joined = False

    def __enter__(self) -> RayEngine:
        if not self._ray.is_initialized():
            self._join()
        self._workers = max(int(self._ray.cluster_resources().get("CPU", 1)), 1)
        say(f"ray: {self._workers} workers")
        return self

    def _join(self) -> None:
        own: dict[str, Any] = {"num_cpus": self._workers, "include_dashboard": False}
        on_termination = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(
                self._address or "local",
                logging_level="error",
                log_to_driver=False,
                **({} if self._address else own),
            )
        except ConnectionError as error:
            raise KgrecError(
                f"no Ray cluster lets us in at {self._address}: start one with `ray start --head`, "
                "set RAY_AUTH_MODE=token if it asks for a token, or unset RAY_ADDRESS to use this "
                "machine alone"
            ) from error
        finally:
            if signal.getsignal(signal.SIGTERM) is not on_termination:  # Ray sets one of its own
                signal.signal(signal.SIGTERM, on_termination)
        self._joined = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._joined:
            self._ray.shutdown()

    def map(
        self, function: Callable[[Shared, Task], Result], tasks: Sequence[Task], shared: Shared
    ) -> Iterator[tuple[int, Result]]:
        """Results in the order in which they are finished; see `Engine`. A lone task runs here.

        Raises:
            Exception: What a task raised, of the same type and with the same message.
            KgrecError: The worker of one task died `RETRIES` + 1 times, or lacks a package.
        """
        if len(tasks) < 2:
            yield from LOCAL.map(function, tasks, shared)
            return
        work = self._ray.remote(max_retries=RETRIES)(_work)
        held = self._ray.put(shared)
        todo, running = iter(enumerate(tasks)), dict[Any, int]()
        most = 2 * (self._workers or 1)  # as many wait as run, so that no worker ever does
        try:
            while True:
                for number, task in islice(todo, most - len(running)):
                    running[work.remote(function, [held], task)] = number
                if not running:
                    return
                (finished,), _ = self._ray.wait(list(running))
                yield running.pop(finished), self._result(finished)
        finally:
            # Waited for, lest it write into what comes next; ray.cancel may abort this process.
            if running and self._ray.is_initialized():
                self._ray.wait(list(running), num_returns=len(running))

    def _result(self, finished: Any) -> Any:
        try:
            return self._ray.get(finished)
        except self._ray.exceptions.RayTaskError as error:
            self._raise(error)
        except self._ray.exceptions.RayError as error:
            raise KgrecError(
                f"the worker of a task died {RETRIES + 1} times, mostly for want of memory: give "
                f"Ray fewer workers a machine ({error})"
            ) from error

    def together(self, function: Callable[[Group, Shared], Result], shared: Shared) -> Result:
        """What the function gives on the first of `training_workers` processes; see `Engine`.

        Raises:
            Exception: What the function raised on one of them.
            KgrecError: Processes died `RETRIES` + 1 times, or lack a package.
        """
        if self._training_workers == 1:
            return LOCAL.together(function, shared)
        from kgrec.ray_ranks import run_ranks

        try:
            return run_ranks(self._ray, self._training_workers, function, shared, RETRIES)
        except self._ray.exceptions.RayTaskError as error:
            self._raise(error)

    def _raise(self, error: Any) -> NoReturn:
        """Raises what a task raised, or says that it could not be read."""
        if not isinstance(error.cause, self._ray.exceptions.RayError):
            raise error.cause from error
        raise KgrecError(
            "a worker cannot read its task: each machine of a Ray cluster needs the same "
            f"kgrec and the same packages ({str(error.cause).splitlines()[0]})"
        ) from error


def _work(function: Callable[[Any, Any], Any], held: list[Any], task: Any) -> Any:
    """One task, in a worker; `held` hides the reference from Ray, which would read it each time."""
    from numba import set_num_threads

    set_num_threads(1)  # Ray does the same for the other libraries
    return function(_shared(held[0]), task)


@lru_cache(maxsize=1)
def _shared(reference: Any) -> Any:
    """What the tasks of a stage share, read once a process."""
    return _ray().get(reference)


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "ray", "--engine ray") from None
    return ray
