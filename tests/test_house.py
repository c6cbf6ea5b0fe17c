"""Rules of the house that no single module can keep."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    "module", ["service.commands", "service.app", "training.demo", "training.cycle_files"]
)
def test_serving_and_simulating_need_no_torch(module: str) -> None:
    """The serving image is installed without it, and so is ``make demo``."""
    script = f"import sys, {module}; print([n for n in ('torch', 'onnx', 'onnxscript') if n in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_the_service_does_not_know_training() -> None:
    script = "import sys, service.commands; print([n for n in sys.modules if n.split('.')[0] == 'training'])"
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_no_link_is_committed() -> None:
    """A link to a folder of one machine leads nowhere, or to itself, on another."""
    listed = subprocess.run(
        ["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert [line for line in listed.stdout.splitlines() if line.startswith("120000")] == []
