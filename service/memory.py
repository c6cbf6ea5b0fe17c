"""Memory of a process: what it keeps, and how much it may have."""

from __future__ import annotations

import ctypes
import resource
from typing import Final

_MEGABYTE: Final = 1 << 20
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Names of options in malloc.h of the GNU C library."""

_OPTIONS: Final = (
    # Threads share what is kept; they allocate too seldom to wait for one another.
    (_ARENA_MAX, 1),
    # The largest that the library takes. Larger blocks are mapped and unmapped one by one.
    (_MMAP_THRESHOLD, 32 * _MEGABYTE),
    (_TRIM_THRESHOLD, 256 * _MEGABYTE),
)


def keep_freed_memory() -> bool:
    """Have this process keep up to 256 MB that are freed, for what it allocates next; whether it does.

    Decoding a field takes some arrays of 8 bytes a point and frees them. The GNU C library gives such blocks
    back at once, and the kernel has to fill the next ones with zeros, page by page: a third of the time that
    decoding takes. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) == 1 for option, value in _OPTIONS)


def limit_memory(most_bytes: int) -> None:
    """Have allocations fail, here and in C libraries, that would take this process beyond so many bytes.

    What counts is memory of its own that it may write to, used or not; code and mapped files do not.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
