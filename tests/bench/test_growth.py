"""An archive that grows is published, verified and asked about, at every size."""

from __future__ import annotations

import pytest

from tests.bench import growth


def test_every_question_is_asked_at_every_size(capsys: pytest.CaptureFixture[str]) -> None:
    growth.main(["archive", "--sizes", "2", "4"])
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("│")
    ]
    assert [row[0] for row in rows] == ["2", "4", "growth"]
    small, large, ratios = ([float(cell) for cell in row[1:]] for row in rows)
    assert all(value > 0 for value in small + large)
    assert len(small) == 8
    assert ratios[0] == pytest.approx(large[0] / small[0], abs=0.01)
