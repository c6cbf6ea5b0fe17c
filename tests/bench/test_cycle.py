"""Where a cycle's time goes: every part is measured, and the shares are those of the whole."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.bench import cycle
from tests.shipped_model import SHIPPED
from training.orography import KOREA


def test_every_part_of_a_cycle_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    cycle.main(["--model", str(SHIPPED), "--runs", "1"], KOREA)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "│" in line]
    spent = {line[1]: float(line[3]) for line in lines}
    assert set(spent) == {*cycle.PARTS, "whole"}
    assert all(milliseconds > 0 for milliseconds in spent.values())
    assert spent["whole"] == pytest.approx(sum(spent[part] for part in cycle.PARTS), abs=2)


def test_shares_are_of_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    found = dict(zip(cycle.PARTS, ([60.0, 60.0], [30.0, 30.0], [10.0, 30.0]), strict=True))
    Console(width=100).print(cycle.table(found, "times"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [line[7] for line in lines] == ["55.0", "27.5", "17.5", "100.0"]
    assert [line[5] for line in lines] == ["60", "30", "10", "100"]
