"""Files are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.durability import TEMPORARY_SUFFIX, write_durably


def test_the_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "product.nc"
    seen = []

    def write(path: Path) -> None:
        path.write_text("half")
        seen.append(target.exists())
        path.write_text("whole")

    write_durably(target, write)
    assert seen == [False]
    assert target.read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["product.nc"]


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "product.nc"
    target.write_text("old")

    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_durably(target, write)
    assert target.read_text() == "old"
    assert not list(tmp_path.glob(f"*{TEMPORARY_SUFFIX}"))
