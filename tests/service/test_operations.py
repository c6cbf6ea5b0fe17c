"""OPERATIONS.md: every alert has its section, and what the page names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import service
from service.__main__ import _parser
from service.errors import RainpostError
from service.series import describe
from service.settings import Settings
from tests.service.monitoring.sample_prometheus import ALERTS

PAGE = Path(service.__file__).parent / "OPERATIONS.md"
TEXT = PAGE.read_text()
SECTIONS = dict(re.findall(r"^### (Rainpost\w+)\n\n(.*?)(?=^##)", TEXT, flags=re.MULTILINE | re.DOTALL))


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    assert list(SECTIONS) == re.findall(r"^### (Rainpost\w+)$", TEXT, flags=re.MULTILINE)
    assert sorted(SECTIONS) == sorted(rule["alert"] for rule in rules())


def test_every_alert_names_its_section() -> None:
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"{PAGE.name}#{rule['alert'].lower()}"


@pytest.mark.parametrize("name", list(SECTIONS))
def test_every_section_says_what_it_is_and_what_to_do(name: str) -> None:
    first, *steps = re.split(r"^(?:1\.|- )", SECTIONS[name], maxsplit=1, flags=re.MULTILINE)
    assert first.strip()
    assert steps or len(first) > 100, "nothing to do"


def test_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", TEXT, flags=re.MULTILINE)
    }
    links = set(re.findall(r"\]\(#([^)]+)\)", TEXT))
    assert links <= anchors


def test_settings_series_and_reasons_are_known() -> None:
    known = {setting.variable for setting in Settings.describe()}
    assert set(re.findall(r"\bRAINPOST_[A-Z_]+[A-Z]\b", TEXT)) <= known
    assert set(re.findall(r"\brainpost_[a-z_]+\b", TEXT)) <= {series.name for series in describe()}
    reasons = {"internal-error", *_reasons(RainpostError)}
    named = re.findall(
        r"^- ((?:`[a-z-]+`(?:, | and )?)+)", SECTIONS["RainpostCycleFailed"], flags=re.MULTILINE
    )
    found = {reason for group in named for reason in re.findall(r"`([a-z-]+)`", group)}
    assert {"gate-refused", "missing-lead", "internal-error"} <= found <= reasons


def _reasons(kind: type[RainpostError]) -> set[str]:
    return {kind.reason}.union(*(_reasons(below) for below in kind.__subclasses__()))


COMMANDS = sorted(
    {
        line.split("#")[0].strip().removesuffix("&")
        for block in re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
        for line in re.sub(r"\\\n\s*", "", block).splitlines()
        if line.startswith("rainpost ")
    }
    | {command for command in re.findall(r"`(rainpost [a-z][^`]*)`", TEXT) if not set("|>") & set(command)}
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    words = [word.replace("...", "") or "T" for word in command.partition("&")[0].split()[1:]]
    if len(words) > 1:
        _parser().parse_args(words)
        return
    with pytest.raises(SystemExit) as end:
        _parser().parse_args([*words, "--help"])
    assert end.value.code == 0


def test_the_commands_were_found() -> None:
    assert {command.split()[1] for command in COMMANDS} >= {
        "backfill",
        "backup",
        "ingest",
        "inspect",
        "models",
        "restore",
        "serve",
        "status",
    }
