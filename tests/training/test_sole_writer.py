"""Who writes an archive or a run, and for how long others are kept away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import InputError
from training.sole_writer import claim, sole_writer

HOLDER = """
import sys
from pathlib import Path
from training.sole_writer import claim
claim(Path(sys.argv[1]))
print("claimed", flush=True)
sys.stdin.read()
"""


def test_others_are_kept_away_for_the_length_of_a_block(tmp_path: Path) -> None:
    place = tmp_path / "runs" / "one"
    with sole_writer(place):
        with pytest.raises(InputError, match="Another process writes here") as caught, sole_writer(place):
            pass
        assert caught.value.where == str(place)
        with sole_writer(tmp_path / "runs" / "two"):
            pass
    with pytest.raises(RuntimeError), sole_writer(place):
        raise RuntimeError
    os.close(claim(place))


def test_a_killed_process_keeps_nobody_away(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "one")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"claimed\n"
        with pytest.raises(InputError), sole_writer(tmp_path / "one"):
            pass
        process.kill()
    with sole_writer(tmp_path / "one"):
        pass
