"""Freed memory that is kept: fewer pages from the kernel, by its own count."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from service.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def field():
    for _ in range(4):
        yield bytearray(14_000_000)
for _ in range(3):
    list(field())
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    list(field())
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="options of the GNU C library")
def test_blocks_of_the_size_of_a_field_are_taken_from_the_kernel_once() -> None:
    faults = {}
    for keep in (False, True):
        command = [sys.executable, "-c", PROGRAM.format(keep=keep)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        faults[keep] = int(result.stdout)
    assert faults[True] < 100
    assert faults[False] > 1000
