from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kgrec.benchmark import limits
from kgrec.benchmark.limits import Ended, own_peak_gib, peak_bytes, resident_bytes, run_limited

PROC = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to watch")


def run(tmp_path: Path, code: str, **changes: Any) -> Ended:
    given = {"seconds": 30.0, "memory_gib": 4.0} | changes
    command = [sys.executable, "-c", code]
    return run_limited(command, log=tmp_path / "log.txt", poll_seconds=0.02, **given)


def test_what_ends_well_is_done(tmp_path: Path) -> None:
    ended = run(tmp_path, "print('hello')")
    assert (ended.status, ended.reason) == ("done", "")
    assert (tmp_path / "log.txt").read_text() == "hello\n"


def test_the_reason_is_the_end_of_the_log(tmp_path: Path) -> None:
    ended = run(tmp_path, "for n in range(9): print(n)\nraise SystemExit('no such thing')")
    assert ended.status == "failed"
    assert ended.reason.splitlines() == ["5", "6", "7", "8", "no such thing"] or (
        "no such thing" in ended.reason
    )
    assert run(tmp_path, "raise SystemExit(3)").reason == "exit code 3"
    ended = run(tmp_path, "raise MemoryError('too much')")
    assert (ended.status, "too much" in ended.reason) == ("out of memory", True)
    ended = run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (ended.status, "by the system" in ended.reason) == ("out of memory", True)


@PROC
def test_time_and_memory_have_limits_and_children_count(tmp_path: Path) -> None:
    ended = run(tmp_path, "import time; time.sleep(60)", seconds=0.3)
    assert ended.status == "out of time"
    assert "0.3 seconds" in ended.reason
    code = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', "
        "'import time; x = bytearray(2**28); x[:] = b\"1\" * 2**28; time.sleep(60)'])"
    )
    ended = run(tmp_path, code, memory_gib=0.2)
    assert ended.status == "out of memory"
    assert ended.peak_gib > 0.2
    assert own_peak_gib() > 0.01


@PROC
def test_whatever_interrupts_ends_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []

    def interrupt(group: int) -> int:
        groups.append(group)
        raise KeyboardInterrupt

    monkeypatch.setattr(limits, "resident_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "import time; time.sleep(60)")
    assert resident_bytes(groups[0]) == 0


@PROC
def test_a_row_ends_with_a_benchmark_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys, time\n"
        "watch = f'from kgrec.benchmark.limits import end_with; end_with({os.getpid()})'\n"
        "child = subprocess.Popen([sys.executable, '-c', watch], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    assert resident_bytes(pid) > 0
    assert peak_bytes(pid) > 0
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while resident_bytes(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert resident_bytes(pid) == 0
    assert peak_bytes(pid) == 0
