"""Bodies to files: the same bytes, however they are cut."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from service.errors import EmptyInput, RequestError, TooLarge
from service.uploads import Body, open_body, safe_name

BOUNDARY = "--x7"
CONTENT_TYPE = f'multipart/form-data; boundary="{BOUNDARY}"'


def part(content: bytes, name: str = "files", filename: str | None = "h024.gb2") -> bytes:
    suffix = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{suffix}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def whole(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def feed(body: Body, data: bytes, step: int) -> Body:
    for start in range(0, len(data), step):
        body.write(data[start : start + step])
    return body


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("step", [1, 3, 17, 4096])
def test_parts_arrive_unchanged_however_they_are_cut(folder: Path, step: int) -> None:
    first = b"GRIB\r\n----x8 almost a boundary \r\n----x \r\n--" + bytes(range(256))
    second = b"CDF\x01"
    data = whole(part(first), part(b"2026112200", "reference_time", None), part(second, filename="b.nc"))
    body = feed(open_body(folder, CONTENT_TYPE, 8), data, step)
    files = body.finish()
    digests = [hashlib.sha256(content).hexdigest() for content in (first, second)]
    assert [(file.name, file.sha256, file.size_bytes) for file in files] == [
        ("h024.gb2", digests[0], len(first)),
        ("b.nc", digests[1], len(second)),
    ]
    assert contents(folder) == {f"{digests[0]}/h024.gb2": first, f"{digests[1]}/b.nc": second}
    assert body.fields == {"reference_time": "2026112200"}


def test_form_fields_are_few(folder: Path) -> None:
    """Each would be kept in memory, and a body may have eight gigabytes of them."""
    few = whole(*(part(b"x", f"field {number}", None) for number in range(16)))
    body = feed(open_body(folder, CONTENT_TYPE, 8), few, 4096)
    body.finish()
    assert len(body.fields) == 16
    many = whole(*(part(b"x", f"field {number}", None) for number in range(17)))
    with pytest.raises(TooLarge, match="at most 16"):
        feed(open_body(folder, CONTENT_TYPE, 8), many, 4096)


@pytest.mark.parametrize("step", [1, 4096])
def test_the_head_of_a_part_is_short(folder: Path, step: int) -> None:
    """Without a limit it would be kept in memory too."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=".encode() + b"a" * 20_000
    with pytest.raises(RequestError, match="header size"):
        feed(open_body(folder, CONTENT_TYPE, 8), head, step)
    heads = f"--{BOUNDARY}\r\n".encode() + b"X: y\r\n" * 1000
    with pytest.raises(RequestError, match="header count"):
        feed(open_body(folder, CONTENT_TYPE, 8), heads, step)


@pytest.mark.parametrize(
    "content_type", ["", "application/octet-stream", "application/x-www-form-urlencoded"]
)
def test_any_other_body_is_one_file(folder: Path, content_type: str) -> None:
    files = feed(open_body(folder, content_type, 8), b"GRIB7777", 3).finish()
    digest = hashlib.sha256(b"GRIB7777").hexdigest()
    assert [(file.name, file.sha256) for file in files] == [("body", digest)]
    assert contents(folder) == {f"{digest}/body": b"GRIB7777"}


def test_the_same_content_keeps_each_of_its_names(folder: Path) -> None:
    data = whole(part(b"GRIB"), part(b"GRIB", filename="copy.gb2"), part(b"GRIB"))
    files = feed(open_body(folder, CONTENT_TYPE, 8), data, 64).finish()
    assert [file.name for file in files] == ["h024.gb2", "copy.gb2", "h024.gb2"]
    digest = hashlib.sha256(b"GRIB").hexdigest()
    assert contents(folder) == {f"{digest}/h024.gb2": b"GRIB", f"{digest}/copy.gb2": b"GRIB"}


def test_an_empty_body_and_an_empty_part(folder: Path) -> None:
    with pytest.raises(EmptyInput):
        open_body(folder, "", 8).finish()
    with pytest.raises(EmptyInput, match=r"h024\.gb2"):
        feed(open_body(folder, CONTENT_TYPE, 8), whole(part(b"")), 64)


def test_a_body_that_ends_early_is_refused(folder: Path) -> None:
    body = feed(open_body(folder, CONTENT_TYPE, 8), whole(part(b"GRIB"), part(b"CDF"))[:-30], 64)
    with pytest.raises(RequestError, match="ends before its last boundary"):
        body.finish()
    body.close()


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("multipart/form-data", whole(part(b"GRIB"))),
        (f"multipart/form-data; boundary={'b' * 300}", b""),
        (CONTENT_TYPE, b"no boundary at all"),
        (CONTENT_TYPE, b"----x7\r\nbad header\r\n\r\n"),
        (CONTENT_TYPE, b"----x7\r\nA: " + b"x" * 100_000),
    ],
)
def test_a_malformed_body_is_refused(folder: Path, content_type: str, data: bytes) -> None:
    with pytest.raises(RequestError):
        feed(open_body(folder, content_type, 8), data, 64)


def test_too_many_files(folder: Path) -> None:
    data = whole(*(part(bytes([number + 1])) for number in range(3)))
    with pytest.raises(TooLarge, match="at most 2"):
        feed(open_body(folder, CONTENT_TYPE, 2), data, 64)


def test_a_form_field_is_short(folder: Path) -> None:
    with pytest.raises(TooLarge, match="files as parts with a file name"):
        feed(open_body(folder, CONTENT_TYPE, 2), whole(part(b"x" * 2000, "files", None)), 64)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("r030_v040_ne36_pres_h024.2026112200.gb2", "r030_v040_ne36_pres_h024.2026112200.gb2"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\h024.gb2", "h024.gb2"),
        ("..", "file"),
        (".hidden", "hidden"),
        ("", "file"),
        ("a\r\nb\0c d.gb2", "a_b_c_d.gb2"),
        ("예보.nc", "_.nc"),
        ("x" * 400 + ".gb2", "x" * 146 + ".gb2"),
    ],
)
def test_names_are_made_harmless(sent: str, kept: str) -> None:
    assert safe_name(sent) == kept
