"""References: only files of the allowed folders, and only those that were announced."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from service.errors import DigestMismatch, EmptyInput, ForbiddenInput, RequestError
from service.references import Reference, parse_references, resolve_references


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    folder.mkdir()
    (folder / "h 024.gb2").write_bytes(b"GRIB")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder.resolve()


def resolve(uri: str, folder: Path, sha256: str | None = None) -> list[Path | None]:
    files = resolve_references((Reference(uri=uri, sha256=sha256),), (folder,), 4)
    return [file.path for file in files]


def test_a_path_and_a_uri_find_the_same_file(allowed: Path) -> None:
    path = allowed / "h 024.gb2"
    assert resolve(str(path), allowed) == [path]
    assert resolve(f"file://{allowed}/h%20024.gb2", allowed) == [path]
    assert resolve(f"file://localhost{allowed}/h%20024.gb2", allowed) == [path]


@pytest.mark.parametrize(
    "uri",
    [
        "{outside}/secret",
        "{allowed}/../secret",
        "{allowed}/./../allowed/../secret",
        "file://{allowed}/..%2Fsecret",
        "file://{allowed}/%2e%2e/secret",
        "{outside}/absent",
        "{allowed}-other/x",
        "file://example.org{allowed}/h%20024.gb2",
        "http://127.0.0.1:8000/metrics",
        "ftp://example.org/x",
        "s3://bucket/x",
        "relative/path",
        "",
    ],
)
def test_what_is_outside_is_forbidden(allowed: Path, uri: str) -> None:
    with pytest.raises(ForbiddenInput):
        resolve(uri.format(allowed=allowed, outside=allowed.parent), allowed)


def test_a_link_out_of_the_folder_is_forbidden(allowed: Path) -> None:
    (allowed / "link").symlink_to(allowed.parent / "secret")
    (allowed / "folder").symlink_to(allowed.parent)
    for name in ("link", "folder/secret"):
        with pytest.raises(ForbiddenInput):
            resolve(str(allowed / name), allowed)


def test_a_link_inside_the_folder_is_followed(allowed: Path) -> None:
    (allowed / "link").symlink_to(allowed / "h 024.gb2")
    assert resolve(str(allowed / "link"), allowed) == [allowed / "h 024.gb2"]


def test_without_folders_nothing_is_allowed(allowed: Path) -> None:
    with pytest.raises(ForbiddenInput, match="no folder is allowed"):
        resolve_references((Reference(uri=str(allowed / "h 024.gb2")),), (), 4)


@pytest.mark.parametrize("name", ["absent", "", "nul\0byte", "x" * 3000])
def test_what_is_no_file_is_refused(allowed: Path, name: str) -> None:
    with pytest.raises(RequestError):
        resolve(f"{allowed}/{name}", allowed)


def test_a_device_is_refused() -> None:
    with pytest.raises(RequestError, match="regular file"):
        resolve("/dev/zero", Path("/dev"))


def test_an_empty_file_is_refused(allowed: Path) -> None:
    (allowed / "empty").touch()
    with pytest.raises(EmptyInput, match="empty"):
        resolve(str(allowed / "empty"), allowed)


def test_the_announced_digest_is_verified(allowed: Path) -> None:
    uri = str(allowed / "h 024.gb2")
    digest = hashlib.sha256(b"GRIB").hexdigest()
    assert resolve(uri, allowed, digest.upper())
    with pytest.raises(DigestMismatch, match=digest):
        resolve(uri, allowed, "0" * 64)


def test_too_many_references(allowed: Path) -> None:
    with pytest.raises(RequestError, match="at most 4"):
        resolve_references((Reference(uri="/x"),) * 5, (allowed,), 4)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b'{"inputs": 1}', "inputs"),
        (b'{"inputs": [{"uri": "/x", "sha256": "short"}]}', r"inputs\.0\.sha256"),
        (b'{"inputs": [], "colour": 1}', "colour"),
    ],
)
def test_a_document_that_is_no_submission_names_the_member(body: bytes, where: str) -> None:
    with pytest.raises(RequestError, match=f"where: {where}"):
        parse_references(body)
