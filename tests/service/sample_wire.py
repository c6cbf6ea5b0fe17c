"""A database behind a network of its own that can lose every packet, as a firewall or a broken switch does.

Nothing says then that the server is gone: no connection is refused, none is closed. Needs Linux, root and
iproute2.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sql

_HERE: Final = "10.213.78.1"
_THERE: Final = "10.213.78.2"


@dataclass(frozen=True)
class Wire:
    """A second address of a database, through the network. cut, mend: lose every answer, and no longer."""

    url: str
    cut: Callable[[], None]
    mend: Callable[[], None]


def cannot_be_laid() -> str:
    """Why this machine can have no such network, or nothing."""
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    if os.geteuid() != 0:
        return "networks are made by root"
    name = _new_name()
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"no network can be made: {made.stderr.strip()}"
    _ip("netns", "delete", name)
    return ""


@contextmanager
def laid(url: str) -> Iterator[Wire]:
    """To the database of a URL that names the folder of its server's socket. One at a time on a machine."""
    parts = sql.make_url(url)
    folder, port = str(parts.query["host"]), str(parts.query["port"])
    name = _new_name()
    _ip("netns", "add", name)
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", "wire", "netns", name)
        _ip("address", "add", f"{_HERE}/30", "dev", name)
        _ip("link", "set", name, "up")
        _ip("-netns", name, "address", "add", f"{_THERE}/30", "dev", "wire")
        _ip("-netns", name, "link", "set", "wire", "up")
        relay = ["ip", "netns", "exec", name, sys.executable, "-m", __name__, _THERE, port]
        with subprocess.Popen([*relay, f"{folder}/.s.PGSQL.{port}"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield Wire(
                    parts.set(host=_THERE, port=int(port), query={}).render_as_string(hide_password=False),
                    cut=lambda: _ip("-netns", name, "route", "add", "blackhole", _HERE),
                    mend=lambda: _ip("-netns", name, "route", "delete", "blackhole", _HERE),
                )
            finally:
                process.kill()
    finally:
        # The pair of devices goes with it.
        _ip("netns", "delete", name)


def _new_name() -> str:
    # At most 15 characters, as the kernel has it.
    return f"rp-{uuid.uuid4().hex[:10]}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


async def _relay(address: str, port: int, path: str) -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(path)
        ways = ((reader, there[1]), (there[0], writer))
        await asyncio.gather(*(_pour(*way) for way in ways))

    async with await asyncio.start_server(meet, address, port) as server:
        sys.stdout.write("relaying\n")
        sys.stdout.flush()
        await server.serve_forever()


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, TimeoutError):
        while piece := await source.read(65536):
            target.write(piece)
            await target.drain()
    target.close()


if __name__ == "__main__":
    asyncio.run(_relay(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
