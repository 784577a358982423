"""What the machine has left: memory, within the limit of a container, and disk."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")
_STATISTICS = ("/sys/fs/cgroup/memory.stat", "/sys/fs/cgroup/memory/memory.stat")


def total_memory() -> int | None:
    """Bytes that this process may use: the machine's, or less where a container sets a limit."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    limit = _first_number(_LIMITS)
    return total if limit is None else min(total, limit)


def available_memory() -> int | None:
    """Bytes that this process may hold without swapping, what it holds already included; None
    where the system does not say."""
    free = _named(Path("/proc/meminfo"), "MemAvailable:")
    if free is None:
        return None
    left = free * 1024
    limit, used = _first_number(_LIMITS), _first_number(_USED)
    if limit is not None and used is not None:
        # Files that were read lie in the cache of the container until something needs the place.
        cached = [_named(Path(file), "inactive_file") for file in _STATISTICS]
        left = min(left, limit - used + next((n for n in cached if n is not None), 0))
    return max(left, 0) + resident_memory()


def resident_memory() -> int:
    """Bytes that this process holds; 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def free_disk(path: Path) -> int:
    """Bytes free where `path` is or will be written."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _first_number(files: tuple[str, ...]) -> int | None:
    for file in files:
        with suppress(OSError, ValueError):  # no such file, or "max"
            return int(Path(file).read_text(encoding="ascii"))
    return None


def _named(file: Path, name: str) -> int | None:
    """The number behind a name in a file of such lines."""
    with suppress(OSError, ValueError, IndexError):
        for line in file.read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return None
