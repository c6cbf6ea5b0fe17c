"""``rainpost serve`` whose days pass as fast as a campaign says, and which counts what it keeps in memory.

The present is what the file ``now`` in the campaign's folder says, as far as the schedule, the inbox and the
retention ask for it: the campaign moves it on with its cycles. Times at which something was published or
changed come from the clock of the machine, which cannot be moved for one process; the waits that go by them,
days and minutes, are seconds here. Upon SIGUSR1 the service counts the objects that Python keeps, by type,
into the file ``objects``.
"""

from __future__ import annotations

import argparse
import gc
import json
import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Final
from unittest.mock import patch

import numpy as np

NOW: Final = "now"
OBJECTS: Final = "objects"


def arguments(folder: Path) -> tuple[str, ...]:
    """What Python is started with."""
    return ("-c", f"import sys; from {__name__} import serve; serve(sys.argv[1])", str(folder))


def write_whole(path: Path, text: str) -> None:
    """In one step for whoever reads at the same time."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def counted_objects() -> Counter[str]:
    """Objects that the collector of garbage knows of and does not remove, by type."""
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    return Counter({f"{kind.__module__}.{kind.__qualname__}": count for kind, count in kinds.items()})


def serve(folder: str) -> None:
    """Serve until a signal comes, by the settings of the environment."""
    from service import schedule

    present = Path(folder) / NOW
    patch.object(schedule, "now_utc", lambda: np.datetime64(present.read_text(), "s")).start()
    # Only now, for all that ask for the present take the function with them when they are imported.
    from service import commands, ingest, retention

    for place, name, value in (
        (retention, "_AT_LEAST", timedelta(seconds=1)),
        (retention, "_GRACE_SECONDS", 0.5),
        (retention, "_ROUND_SECONDS", 0.3),
        (ingest, "_FORGOTTEN_SECONDS", 1.0),
    ):
        setattr(place, name, value)
    counted = Path(folder) / OBJECTS
    signal.signal(signal.SIGUSR1, lambda *_: write_whole(counted, json.dumps(counted_objects())))
    commands.serve(argparse.Namespace())
