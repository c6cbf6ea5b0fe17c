"""Weeks of cycles in short: five of them, after which what is too old is gone and nothing is left open."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.torture.soak import MOST_GROWTH, Sample, Soak, draw, grown_types, growth, table, thirds
from training.progress import Progress

SHORT_FORM = 5
COUNTED = ("threads", "worker_threads", "open_files", "worker_open_files")
"""What has to stay as it is from the second cycle on; memory takes longer than this to come to rest."""


def test_cycles_come_and_go_and_leave_nothing_open(tmp_path: Path) -> None:
    soak = Soak(tmp_path / "soak", 1, keep_days=0.5, thorough=False)
    outcome = soak.run(SHORT_FORM, Progress("", SHORT_FORM, "", quiet=True))
    assert outcome.broken == []
    assert outcome.cycles == SHORT_FORM
    early, last = outcome.samples[1], outcome.samples[-1]
    more = {name: last[name] - early[name] for name in COUNTED}
    assert all(one <= 2 for one in more.values()), more
    assert last["disk_entries"] <= 1.05 * outcome.samples[-2]["disk_entries"], "what comes, goes"


def samples(count: int, **last_third: float) -> list[Sample]:
    """All of 100, but what is given in the last third."""
    plain = dict.fromkeys(MOST_GROWTH, 1000.0) | {"ledger_bytes": 10.0}
    return [plain] * (count - count // 3) + [plain | last_third] * (count // 3)


def test_growth_is_told_from_the_last_third() -> None:
    assert growth(samples(9)) == []
    at_most = {name: ratio * 1000 + more for name, (ratio, more) in MOST_GROWTH.items()}
    assert growth(samples(9, **at_most)) == []
    for name, most in at_most.items():
        (found,) = growth(samples(9, **{name: most + 1}))
        assert found.startswith(f"{name} grew from 1000 to ")
    one_more = samples(9)
    one_more[-1] = dict.fromkeys(MOST_GROWTH, 9999.0)
    assert growth(one_more) == [], "of medians: one that stands out is none"


@pytest.mark.parametrize("count", [3, 10, 120])
def test_thirds_are_the_last_ones(count: int) -> None:
    third = count // 3
    values = [0.0] * (count - 2 * third) + [1.0] * third + [2.0] * third
    assert thirds(values) == (0.0, 1.0, 2.0)


def test_types_that_became_more_are_named() -> None:
    objects = [Counter({"kept": number, "steady": 7, "fewer": 99 - number}) for number in range(9)]
    assert grown_types(objects) == ["+3 kept"]


def test_a_run_is_shown(tmp_path: Path) -> None:
    found = samples(9, threads=1002)
    names = table(found).columns[0].cells
    assert list(names) == [name.replace("_", " ") for name in found[0]]
    draw(found, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
