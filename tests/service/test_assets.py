"""The files of the page: what there is, and that nothing in them points elsewhere."""

from __future__ import annotations

import fnmatch
import gzip
import re
import tomllib

import pytest

from service.assets import INDEX, asset_names, read_asset
from service.errors import NotFound
from tests.conftest import ROOT

NAMESPACES = ("http://www.w3.org/2000/svg",)


def test_every_file_that_the_page_names_is_there() -> None:
    text = read_asset(INDEX).body.content.decode()
    named = set(re.findall(r'"/page/([^"]+)"', text))
    assert named
    for name in asset_names():
        if name.endswith(".js"):
            source = read_asset(name).body.content.decode()
            named |= set(re.findall(r'from "\./([^"]+)"', source))
    assert named <= set(asset_names())


def test_every_module_is_loaded_ahead() -> None:
    """Otherwise the browser finds them one after the other."""
    text = read_asset(INDEX).body.content.decode()
    ahead = set(re.findall(r'modulepreload" href="/page/([^"]+)"', text)) | {"page.js"}
    assert ahead == {name for name in asset_names() if name.endswith(".js")}


@pytest.mark.parametrize("name", [name for name in asset_names() if not name.endswith((".json", ".txt"))])
def test_no_file_points_to_another_host(name: str) -> None:
    text = read_asset(name).body.content.decode()
    links = [
        link for link in re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text) if link not in NAMESPACES
    ]
    assert links == []


def test_the_wheel_has_every_file() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["service"]
    for name in asset_names():
        assert any(fnmatch.fnmatch(f"page/{name}", pattern) for pattern in patterns), name


def test_the_licences_name_the_borders() -> None:
    text = read_asset("LICENCES.txt").body.content.decode()
    assert "borders.json" in text
    assert "Public domain" in text


def test_a_file_comes_as_it_is_and_by_gzip() -> None:
    asset = read_asset("page.css")
    assert gzip.decompress(asset.body.compressed) == asset.body.content
    assert asset.media_type == "text/css; charset=utf-8"
    assert asset.etag == read_asset("page.css").etag != read_asset("page.js").etag


@pytest.mark.parametrize("name", ["", "none.js", "__init__.py", "../assets.py", "../../pyproject.toml"])
def test_other_files_are_not_served(name: str) -> None:
    with pytest.raises(NotFound):
        read_asset(name)
