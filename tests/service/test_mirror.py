"""A copy of a folder that is written to meanwhile."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from service.mirror import mirror, replace_folder


def put(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)


def held(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_is_new_or_changed_is_copied_with_its_time(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    put(source / "deep" / "er", a="one", b="two")
    os.utime(source / "deep" / "er" / "a", (5, 7))
    assert mirror(source, target) == 2
    assert held(target) == held(source)
    assert (target / "deep" / "er" / "a").stat().st_mtime == 7
    assert mirror(source, target) == 0
    put(source / "deep" / "er", b="TWO", c="three")
    assert mirror(source, target) == 2
    (source / "deep" / "er" / "c").unlink()
    assert mirror(source, target) == 0
    assert held(target) == {"deep/er/a": "one", "deep/er/b": "TWO", "deep/er/c": "three"}


def test_locks_and_half_files_and_what_is_left_out_stay_away(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    put(source, a="one", b_partial="half", _lock="")
    put(source / "work" / "inbox", c="copy")
    mirror(source, target, leave_out=lambda path: path == Path("work/inbox"))
    assert held(target) == {"a": "one"}


def test_a_record_is_copied_after_what_it_is_about_and_never_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    put(source, r1_nc="one", r1_json="{}")
    copied: list[str] = []

    def copy(path: str, to: str) -> str:
        copied.append(Path(path).name)
        # Meanwhile the next revision is published.
        put(source, r2_nc="two", r2_json="{}")
        return str(shutil.copyfile(path, to))

    monkeypatch.setattr("service.mirror.shutil.copy2", copy)
    mirror(source, target)
    assert copied == ["r1.nc", "r1.json"]
    assert set(held(target)) == {"r1.nc", "r1.json"}


def test_a_file_that_vanishes_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    put(source, a="one", b="two")
    real = shutil.copy2

    def copy(path: str, to: str) -> object:
        if Path(path).name == "a":
            Path(path).unlink()
        return real(path, to)

    monkeypatch.setattr("service.mirror.shutil.copy2", copy)
    assert mirror(source, target) == 1
    assert held(target) == {"b": "two"}


def test_a_disk_that_is_full_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "source", a="one")

    def copy(path: str, to: str) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.mirror.shutil.copy2", copy)
    with pytest.raises(OSError, match="No space"):
        mirror(tmp_path / "source", tmp_path / "target")


def test_a_folder_takes_the_place_of_the_copy_before(tmp_path: Path) -> None:
    source, target = tmp_path / "job", tmp_path / "copies" / "job"
    put(source, a="one", b="two")
    replace_folder(source, target)
    (source / "a").unlink()
    replace_folder(source, target)
    assert held(target) == {"b": "two"}
    shutil.rmtree(source)
    replace_folder(source, target)
    assert not target.exists()


def test_a_folder_that_goes_away_while_it_is_copied_is_not_kept_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "job", tmp_path / "copies" / "job"
    put(source, a="one", b="two")
    real = shutil.copy2

    def copy(path: str, to: str) -> object:
        done = real(path, to)
        source.rename(tmp_path / "job.removed")
        return done

    monkeypatch.setattr("service.mirror.shutil.copy2", copy)
    replace_folder(source, target)
    assert list((tmp_path / "copies").iterdir()) == []
