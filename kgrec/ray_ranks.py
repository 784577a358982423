"""The ranks of a training as processes of a Ray cluster, begun again together when one dies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from typing import Any, TypeVar

from kgrec.data_parallel import ALONE, Group, LostPeerError, join, meeting_point
from kgrec.errors import KgrecError
from kgrec.progress import say

Shared = TypeVar("Shared")
Result = TypeVar("Result")

_START_SECONDS = 600.0
"""How long the cluster may take to start the ranks."""
_LOOK_SECONDS = 1.0
"""How often what the first rank says is fetched."""


def run_ranks(
    ray: Any,
    wanted: int,
    function: Callable[[Group, Shared], Result],
    shared: Shared,
    retries: int,
) -> Result:
    """Runs a function on several processes at once and gives the result of the first.

    When one dies the others are ended and all begin anew, as many as the cluster then has room
    for, so the function has to go on from what it saved. What the first says appears here.

    Args:
        ray: The module, joined to a cluster.
        wanted: How many processes; no more than the cluster's GPUs, or its cores if it has none.
        function: Of a group and of what is shared.
        shared: What all read; none may write to its arrays.
        retries: How often all may begin anew.

    Raises:
        RayTaskError: The function raised something on a rank: its `cause`.
        KgrecError: Processes died `retries` + 1 times, or could not be started.
    """
    held, lost = ray.put(shared), ""
    for _ in range(retries + 1):
        if lost:
            say(f"a training process died ({lost}): all go on from the last epoch saved")
        n, threads, gpus = layout(ray.nodes(), wanted)
        if n == 1:
            return function(ALONE, shared)
        say(f"network: {n} processes of {threads} threads" + " and a GPU each" * gpus)
        try:
            needs = {"num_cpus": threads, "num_gpus": gpus}
            result: Result = _run_once(ray, n, needs, function, held)
            return result
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.RayTaskError):
                if not isinstance(error.cause, LostPeerError):
                    raise
                error = error.cause
            lost = str(error).strip().splitlines()[0]
    raise KgrecError(
        f"a process of the training died {retries + 1} times, mostly for want of memory: train on "
        f"fewer, or on one ({lost})"
    )


def layout(nodes: list[dict[str, Any]], wanted: int) -> tuple[int, int, int]:
    """How many ranks a cluster has room for, and the threads and GPUs of each.

    Args:
        nodes: What `ray.nodes()` gives.
        wanted: Ranks at most. Where there are GPUs each rank has one.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = int(any(node.get("GPU", 0) >= 1 for node in alive))
    room = [
        (int(node.get("CPU", 0)), int(node["GPU"]) if gpus else sys.maxsize)
        for node in alive
        if node.get("GPU" if gpus else "CPU", 0) >= 1
    ]
    n = max(min(wanted, sum(min(each) for each in room)), 1)
    most = max((cores for cores, _ in room), default=1)
    fits = (
        threads
        for threads in range(most, 0, -1)
        if sum(min(cores // threads, cards) for cores, cards in room) >= n
    )
    return n, next(fits, 1), gpus


def _run_once(
    ray: Any, n: int, needs: dict[str, Any], function: Callable[[Group, Any], Any], held: Any
) -> Any:
    actor = ray.remote(max_concurrency=2, scheduling_strategy="SPREAD", **needs)(_Rank)
    ranks = [actor.remote(Group(rank, n)) for rank in range(n)]
    try:
        places = ray.get([rank.meeting_point.remote() for rank in ranks], timeout=_START_SECONDS)
        results = [rank.run.remote(function, held, needs["num_cpus"], *places[0]) for rank in ranks]
        running, shown = results, 0
        while running:
            done, running = ray.wait(running, timeout=_LOOK_SECONDS)
            said = ray.get(ranks[0].said.remote(shown))
            sys.stderr.write(said)
            shown += len(said)
            ray.get(done)
        return ray.get(results[0])
    finally:
        for rank in ranks:
            ray.kill(rank)


class _Rank:
    """One process of the group. Its methods may run side by side."""

    def __init__(self, group: Group) -> None:
        self._group, self._said = group, StringIO()
        self._store: Any = None

    def meeting_point(self) -> tuple[str, int]:
        """Host and port where the ranks meet; the port counts in the first only."""
        from ray.util import get_node_ip_address

        host = get_node_ip_address()
        if not self._group.leads:
            return host, 0
        self._store = meeting_point(host)
        return host, self._store.port

    def run(
        self, function: Callable[[Group, Any], Any], shared: Any, threads: int, host: str, port: int
    ) -> Any:
        """What the function gives, once all ranks have met."""
        import numba
        import torch

        torch.set_num_threads(threads)
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        with redirect_stderr(self._said):
            return function(join(self._group, host, port, self._store), shared)

    def said(self, since: int) -> str:
        """What came on stderr, from some character on."""
        return self._said.getvalue()[since:]
