"""Kill -9 in short: a few kills on each database; the long form has two hundred."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.torture.kills import kill_again_and_again

SHORT_FORM = 3


@pytest.mark.parametrize("seed", [1])
def test_kills_lose_nothing_and_publish_nothing_twice(
    database: dict[str, str], tmp_path: Path, seed: int
) -> None:
    settings: tuple[tuple[str, Any], ...] = tuple(database.items())
    outcome = kill_again_and_again(tmp_path / "work", SHORT_FORM, seed, settings)
    assert outcome.broken == []
    assert outcome.kills == SHORT_FORM
    assert outcome.moments.total() >= SHORT_FORM
    assert outcome.cycles >= 2
    assert outcome.files_read >= 3 * outcome.cycles, "the reader saw every product and observation"
    assert outcome.renames >= 2 * outcome.cycles + 3 * outcome.observations, "so did the watch over names"
