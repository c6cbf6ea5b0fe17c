"""Arguments and reports of campaigns; every campaign has its place in the Makefile and its short form."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.torture.campaign import parser, report

FOLDER = Path(__file__).parent
CAMPAIGNS = sorted(
    path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text() and path != Path(__file__)
)


def test_count_and_seed_have_defaults() -> None:
    arguments = parser("sample", "", count=7, unit="things")
    assert vars(arguments.parse_args([])) == {"count": 7, "seed": 1, "minutes": math.inf}
    assert vars(arguments.parse_args(["--count", "3", "--seed", "9"])) == {
        "count": 3,
        "seed": 9,
        "minutes": math.inf,
    }


def test_a_broken_promise_is_an_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert report({"inputs": 3}, []) == 0
    assert report({"inputs": 3}, ["it fell over"]) == 1
    captured = capsys.readouterr()
    assert '"inputs": 3' in captured.out
    assert "BROKEN: it fell over" in captured.err


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_every_campaign_is_run_in_full_in_short_and_is_documented(name: str) -> None:
    command = f"python -m tests.torture.{name} "
    assert command in (ROOT / "Makefile").read_text()
    assert command in (ROOT / "service" / "RELIABILITY.md").read_text()
    assert (FOLDER / f"test_{name}.py").exists()
