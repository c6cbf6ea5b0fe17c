"""What ``/livez`` takes while a service does something else: the lag of its event loop, seen from outside.

A process of its own asks, for in that of a campaign the campaign's own work would be measured too. It imports
nothing that it does not need.
"""

from __future__ import annotations

import http.client
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_PAUSE_SECONDS: Final = 0.02


@contextmanager
def answer_times(port: int) -> Iterator[list[float]]:
    """Seconds of one answer after another, on one connection, filled in at the end."""
    found: list[float] = []
    with subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import ask; ask({port})"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process without pipes")
        # It has had its first answer.
        process.stdout.readline()
        try:
            yield found
        finally:
            process.stdin.close()
            found += json.loads(process.stdout.readline())


def ask(port: int) -> None:
    """In the process of its own: ask until standard input ends, then write what was found."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    found: list[float] = []
    while True:
        began = time.monotonic()
        connection.request("GET", "/livez")
        connection.getresponse().read()
        if not found:
            sys.stdout.write("begun\n")
            sys.stdout.flush()
        found.append(time.monotonic() - began)
        if select.select([sys.stdin], [], [], _PAUSE_SECONDS)[0]:
            break
    sys.stdout.write(json.dumps(found) + "\n")
