"""What the commands of all campaigns share: their arguments, and the report at their end."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence


def parser(name: str, description: str | None, *, count: int, unit: str) -> argparse.ArgumentParser:
    """The arguments ``--count``, ``--seed`` and ``--minutes``; a campaign may add its own.

    name: of the module. count: of the long form. unit: what is counted.
    """
    result = argparse.ArgumentParser(prog=f"python -m tests.torture.{name}", description=description)
    result.add_argument("--count", type=int, default=count, help=f"how many {unit} (default: {count})")
    result.add_argument("--seed", type=int, default=1, help="of all that is random (default: 1)")
    result.add_argument(
        "--minutes", type=float, default=math.inf, help="end after so many minutes with what was done by then"
    )
    return result


def report(figures: Mapping[str, object], broken: Sequence[str]) -> int:
    """Print figures and broken promises; the exit status of the command, 1 where a promise was broken."""
    print(json.dumps(dict(figures), indent=1, default=str))
    for one in broken:
        print(f"BROKEN: {one}", file=sys.stderr)
    print("no promise was broken" if not broken else f"{len(broken)} promises were broken", file=sys.stderr)
    return 1 if broken else 0
