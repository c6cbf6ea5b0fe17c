"""Memory of processes, as the kernel tells it."""

from __future__ import annotations

from pathlib import Path


def peak_bytes(process: int) -> int:
    """The most memory that a process ever had resident; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
