"""What numbers were made with: the machine, and the commit of the code."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import kgrec


def hardware() -> dict[str, Any]:
    """What the numbers were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = platform.processor()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(ln for ln in lines if ln.startswith("model name")).partition(":")[2]
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "processor": processor.strip(),
        "python": platform.python_version(),
    }


def default_threads() -> int:
    """Threads that libraries compute with unless they are told otherwise."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def commit() -> str | None:
    """The commit of the checkout that runs, a `+` behind where files differ; None elsewhere."""
    folder = Path(kgrec.__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    with suppress(OSError, subprocess.CalledProcessError):
        head, changed = (
            subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno", "kgrec"])
        )
        return head + ("+" if changed else "")
    return None
