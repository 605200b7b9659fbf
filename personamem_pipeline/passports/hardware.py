"""The machine that a stage runs on, for the record of a making.

torch is asked only where the stage has loaded it: this module must cost a process without a GPU nothing.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from personamem_pipeline.passports.records import Hardware

_DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
_SECONDS = 20
CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
"""The memory that a container may use, in bytes, or `max` (cgroup v2)."""


def hardware() -> Hardware:
    """What this process may use: its processors and memory (a container's where it has less), and the GPUs it sees."""
    torch: Any = sys.modules.get("torch")
    gpus: tuple[str, ...] = ()
    if torch is not None and torch.cuda.is_available():
        gpus = tuple(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    return Hardware(
        machine=f"{platform.system()} {platform.machine()}",
        processors=_processors(),
        memory_bytes=_memory(),
        gpus=gpus,
        cuda=torch.version.cuda if gpus else None,
        driver=_driver() if gpus else None,
    )


def _processors() -> int:
    """Those that this process may run on; macOS only knows how many there are."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        allowed = CGROUP_MEMORY.read_text().strip()
    except OSError:
        return physical
    return min(physical, int(allowed)) if allowed.isdigit() else physical


def _driver() -> str | None:
    """The first GPU's driver, which all share; None where `nvidia-smi` is missing or has no answer."""
    try:
        told = subprocess.run(_DRIVER, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return told.splitlines()[0].strip() if told.strip() else None
