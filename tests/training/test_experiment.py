"""Which steps a pattern chooses, and what the command line says of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training.experiment import chosen
from training.runner import Step

STEPS = [
    Step("archive", ("a",)),
    Step("archive_whole", ("f",)),
    Step("experiment/pretrain_90/1", ("b",), after=("archive",)),
    Step("experiment/ours/1", ("c",), after=("experiment/pretrain_90/1",)),
    Step("experiment/ours/1/scores", ("d",), after=("experiment/ours/1",)),
    Step("experiment/other/1", ("e",), after=("archive",)),
]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], 6),
        (["experiment/ours"], 4),
        (["experiment/ours/1"], 4),
        (["experiment/ours/1/scores"], 4),
        (["experiment/ou"], 4),
        (["experiment"], 5),
        (["experiment/other"], 2),
        (["experiment/other", "experiment/ours"], 5),
        (["archive"], 1),
        (["archive_"], 1),
        (["arch"], 2),
    ],
)
def test_a_pattern_brings_what_its_steps_need(patterns: list[str], expected: int) -> None:
    found = chosen(STEPS, patterns)
    assert len(found) == expected
    names = [step.name for step in found]
    assert names == [step.name for step in STEPS if step.name in names]


def test_the_list_says_what_is_done(tmp_path: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "training.experiment", "list"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = completed.stdout.splitlines()
    assert lines[0].strip() == "archive"
    assert not any(line.startswith("done") for line in lines)
