"""The audit of dependencies: what stops the work, and what is said when nothing could be found out."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("ci_audit", str(ROOT / ".ci" / "audit"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def report(*packages: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(packages), "fixes": []}


SOUND = {"name": "numpy", "version": "2.4.6", "vulns": []}
SKIPPED = {"name": "local", "skip_reason": "Dependency not found on PyPI"}
VULNERABLE = {
    "name": "urllib3",
    "version": "2.0.0",
    "vulns": [{"id": "PYSEC-2023-192", "aliases": ["CVE-2023-43804"], "fix_versions": ["2.0.6"]}],
}


def test_a_vulnerability_stops_the_work(audit: ModuleType) -> None:
    status, lines = audit.judge(report(SOUND, VULNERABLE), set())
    assert (status, lines[0]) == (1, "VULNERABLE: urllib3 2.0.0: PYSEC-2023-192, mended in 2.0.6")
    assert audit.judge(report(SOUND), set()) == (0, ["1 packages audited"])


@pytest.mark.parametrize("name", ["PYSEC-2023-192", "CVE-2023-43804"])
def test_one_that_is_ignored_does_not_but_is_named(audit: ModuleType, name: str) -> None:
    status, lines = audit.judge(report(VULNERABLE), {name})
    assert (status, lines[0].startswith("ignored: urllib3")) == (0, True)
    assert audit.judge(report(VULNERABLE), {"CVE-1"})[0] == 1


def test_what_could_not_be_found_out_is_said(audit: ModuleType) -> None:
    status, lines = audit.judge(report(SKIPPED), set())
    assert status == 0
    assert lines[0].startswith("NOT AUDITED: the registry gave no advisories")
    assert audit.judge(report(SOUND, SKIPPED), set())[1][0] == "NOT AUDITED: 1 of 2: local"


def test_what_is_ignored_has_its_day_and_its_reason(audit: ModuleType) -> None:
    text = "# head\n\nGHSA-1 2027-01-31 only on Windows\n"
    assert audit.ignored_today(text, "2027-01-31") == {"GHSA-1"}
    assert audit.ignored_today(text, "2027-02-01") == set()
    for wrong in ("GHSA-1 soon because", "GHSA-1 2027-01-31"):
        with pytest.raises(ValueError, match=r".+"):
            audit.ignored_today(wrong, "2027-01-01")
    audit.ignored_today((ROOT / ".ci" / "advisories.txt").read_text(), "2027-01-01")
