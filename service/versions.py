"""Versions of this package and of what its results depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

_PACKAGES: Final = ("eccodes", "netCDF4", "numpy", "onnxruntime", "onnxruntime-gpu", "pyproj", "xarray")


def rainpost_version() -> str:
    """Version of the installed package."""
    return version("rainpost")


def dependency_versions() -> dict[str, str]:
    """Python and the packages that decode, remap, infer and write, as far as they are installed."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
