"""Identity of submissions; files that change under them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.artefact import digest_file
from service.errors import DigestMismatch, EmptyInput
from service.submission import InputFile, Submission

ONE = InputFile(name="h024.gb2", sha256="1" * 64, size_bytes=5)
TWO = InputFile(name="h025.gb2", sha256="2" * 64, size_bytes=6)
TIME = "2026-11-22T00:00:00Z"


def test_order_and_repetition_make_no_difference() -> None:
    one = Submission.of([TWO, ONE, TWO], TIME)
    assert one == Submission.of([ONE, TWO], TIME)
    assert one.key("model") == Submission.of([ONE, TWO], TIME).key("model")


def test_names_make_no_difference() -> None:
    renamed = ONE.model_copy(update={"name": "other.gb2"})
    assert Submission.of([renamed], TIME).key("model") == Submission.of([ONE], TIME).key("model")


def test_of_two_names_of_one_content_the_first_stays() -> None:
    renamed = ONE.model_copy(update={"name": "other.gb2"})
    assert Submission.of([ONE, renamed], TIME).inputs == (ONE,)


def test_time_model_and_content_make_a_difference() -> None:
    keys = {
        Submission.of([ONE], TIME).key("model"),
        Submission.of([ONE], None).key("model"),
        Submission.of([ONE], TIME).key("other"),
        Submission.of([ONE, TWO], TIME).key("model"),
        Submission.of([TWO], TIME).key("model"),
    }
    assert len(keys) == 5


def test_nothing_is_no_submission() -> None:
    with pytest.raises(EmptyInput):
        Submission.of([], TIME)


def referred(path: Path) -> InputFile:
    status = path.stat()
    return InputFile(
        name=path.name,
        sha256=digest_file(path),
        size_bytes=status.st_size,
        path=path,
        modified_ns=status.st_mtime_ns,
    )


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "h024.gb2"
    path.write_bytes(b"GRIB")
    file = referred(path)
    assert file.locate(tmp_path) == path
    path.write_bytes(b"BIRG")
    os.utime(path, ns=(0, file.modified_ns or 0))
    os.utime(path, ns=(0, (file.modified_ns or 0) + 1))
    with pytest.raises(DigestMismatch, match=r"h024\.gb2"):
        file.locate(tmp_path)


def test_a_file_that_vanished_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "h024.gb2"
    path.write_bytes(b"GRIB")
    file = referred(path)
    path.unlink()
    with pytest.raises(DigestMismatch, match="No such file"):
        file.locate(tmp_path)


def test_uploads_are_found_by_their_digest(tmp_path: Path) -> None:
    place = tmp_path / ONE.sha256
    place.mkdir()
    (place / "name-of-the-first-sender.gb2").touch()
    assert ONE.locate(tmp_path) == place / "name-of-the-first-sender.gb2"
