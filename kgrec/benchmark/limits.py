"""A child process with a limit of wall-clock time and one of memory."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal

Status = Literal["done", "out of time", "out of memory", "failed"]

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""What libraries read at their start."""
_REASON_LINES = 5
_LINE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    status: Status
    reason: str
    """Empty when it is done."""
    seconds: float
    peak_gib: float
    """Most memory that it and its own children held together, as far as it was seen."""


def run_limited(
    command: Sequence[str],
    *,
    log: Path,
    seconds: float,
    memory_gib: float,
    threads: int | None = None,
    stop: Event | None = None,
    poll_seconds: float = 0.2,
) -> Ended:
    """Runs a command in a process group of its own and ends the group when a limit is passed.

    Memory is what is resident, summed over the group and looked at every `poll_seconds`: a limit
    of the address space would count what torch reserves and never touches. Where the system has
    no /proc, memory is not watched. Whatever ends this function (Ctrl-C too) ends the group.

    Args:
        command: Program and arguments.
        log: File for what the command says on stdout and stderr.
        seconds: Wall-clock limit.
        memory_gib: Limit of resident memory.
        threads: Most that a library of it computes with; as the environment says by default.
        stop: Ends it once it is set.
        poll_seconds: How often to look.

    Raises:
        InterruptedError: `stop` was set.
    """
    chosen = {} if threads is None else dict.fromkeys(THREADS, str(threads))
    began = time.monotonic()
    peak = 0
    with log.open("wb") as said:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
            env=os.environ | chosen,
        )  # fmt: skip
        try:
            while True:
                code = _wait(child, poll_seconds)
                passed = time.monotonic() - began
                if stop is not None and stop.is_set():
                    raise InterruptedError
                if code is not None:
                    return Ended(*_ending(code, log, peak), passed, peak / 2**30)
                peak = max(peak, resident_bytes(child.pid))
                if peak > memory_gib * 2**30:
                    why = f"more than the {memory_gib:g} GiB it may have"
                    return Ended("out of memory", why, passed, peak / 2**30)
                if passed > seconds:
                    why = f"not done within {seconds:g} seconds"
                    return Ended("out of time", why, passed, peak / 2**30)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def resident_bytes(group: int) -> int:
    """Resident memory of all processes of a group; 0 where the system has no /proc."""
    total = 0
    page = os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # a process may end while it is read
            # The name, in brackets, may hold anything; after it: state, parent, group, ...
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[2]) == group:
                total += int((entry / "statm").read_text().split()[1]) * page
    return total


def peak_bytes(process: int | Literal["self"]) -> int:
    """The most that one process has held resident; 0 where it is gone or there is no /proc."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return 0


def own_peak_gib() -> float:
    """The most memory that this process has held resident, in GiB."""
    # Rather than ru_maxrss, which starts from what the parent held when it made this process.
    if found := peak_bytes("self"):
        return found / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def end_with(parent: int) -> None:
    """Ends this process when its parent is gone, killed outright perhaps; returns never.

    Args:
        parent: The process that started this one.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _wait(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _ending(code: int, log: Path, peak: int) -> tuple[Status, str]:
    if code == 0:
        return "done", ""
    said = log.read_text("utf-8", errors="replace").strip().splitlines()
    last = "\n".join(line[:_LINE_CHARACTERS] for line in said[-_REASON_LINES:])
    if said and ("MemoryError" in said[-1] or "DefaultCPUAllocator: can't allocate" in said[-1]):
        return "out of memory", last
    if code == -signal.SIGKILL:
        return "out of memory", f"ended by the system when it held {peak / 2**30:.1f} GiB"
    return "failed", last or f"exit code {code}"
