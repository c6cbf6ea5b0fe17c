"""Memory that is kept, by the kernel's count of pages, and memory that is refused."""

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


LIMITED = """
import numpy
from service.memory import limit_memory
limit_memory(600_000_000)
numpy.zeros(100_000_000, numpy.uint8)
try:
    numpy.empty(100_000_000_000, numpy.uint8)
except MemoryError:
    print("refused")
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="other systems count no such memory")
def test_memory_beyond_the_limit_is_refused_before_it_is_used() -> None:
    result = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    assert result.stdout == "refused\n"
