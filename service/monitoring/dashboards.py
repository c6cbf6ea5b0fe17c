"""``python -m service.monitoring.dashboards`` writes ``grafana/dashboards/*.json``, which Grafana reads.

Several processes on one database show the same state, so the dashboards take its gauges together by ``max``;
what each process counts is added up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from service.monitoring.health import health
from service.monitoring.operations import operations
from service.monitoring.verification import verification

FOLDER: Final = Path(__file__).parent / "grafana" / "dashboards"

DASHBOARDS: Final = {"verification": verification, "operations": operations, "health": health}
"""File name to what makes it."""


def text(name: str) -> str:
    """The file of a dashboard."""
    return json.dumps(DASHBOARDS[name](), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all files."""
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(text(name))


if __name__ == "__main__":
    main()
