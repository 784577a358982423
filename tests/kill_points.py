"""Kills an action by SIGKILL at each moment it is about to touch a folder, in forked children.

To be run in a process of its own, before anything has started threads.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path

_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def sweep(
    folder: Path, action: Callable[[], object], check: Callable[[], object], step: int = 1
) -> int:
    """Runs `action` killed at its 1st, 2nd, ... touch of `folder`, and `check` after each.

    Args:
        folder: What is watched.
        action: What is killed.
        check: What must hold after it.
        step: 1 for every moment, n for every n-th.

    Returns:
        At how many touches, at least, the action came to its end.
    """
    for touches in count(1, step):
        killed = _child(lambda n=touches: _killed_at(folder, n, action)) != 0  # type: ignore[misc]
        if _child(check):
            raise AssertionError(f"the check failed after a kill at touch {touches}")
        if not killed:
            return touches
    raise AssertionError


def _killed_at(folder: Path, touches: int, action: Callable[[], object]) -> None:
    left = touches

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if event in _EVENTS and str(folder) in str(args[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    action()


def _child(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise AssertionError("the action failed of itself")
    return status
