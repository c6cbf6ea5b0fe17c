"""From a cycle and an observation to PromQL, through a real Prometheus; and what promtool says."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from service.series import describe
from tests.service.monitoring.conftest import Monitored
from tests.service.monitoring.sample_prometheus import ALERTMANAGER, ALERTS, CONFIGURATION, program
from tests.service.sample_cycle import REFERENCE_TIME

OUTCOMES = {
    "hits": "hit",
    "misses": "miss",
    "false_alarms": "false_alarm",
    "correct_negatives": "correct_negative",
}


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rows(monitored: Monitored) -> list[dict[str, Any]]:
    """What the ledger says over HTTP, by source, threshold and lead."""
    answer = monitored.server.client.get("/verification")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["scores"]
    assert len(found) == 18, "three sources, two thresholds, two leads and both together"
    return found


def test_the_csi_by_promql_is_that_of_the_ledger(monitored: Monitored) -> None:
    compared = 0
    for row in rows(monitored):
        if row["lead_hours"] is not None:
            continue
        place = f'source="{row["source"]}",threshold_mm="{row["threshold_mm"]:g}"'
        hits = f'sum(rainpost_verification_cells_total{{{place},outcome="hit"}})'
        relevant = f'sum(rainpost_verification_cells_total{{{place},outcome!="correct_negative"}})'
        expected = row["critical_success_index"]
        assert expected == row["hits"] / (row["hits"] + row["misses"] + row["false_alarms"])
        assert monitored.prometheus.value(f"{hits} / {relevant}") == expected
        gauge = f'rainpost_verification_critical_success_index{{{place},lead_hours="all",days="7"}}'
        assert monitored.prometheus.value(gauge) == expected
        compared += 0 < expected < 1
    assert compared >= 2, "scores that could be mixed up with nothing"


def test_counters_have_the_counts_of_the_ledger(monitored: Monitored) -> None:
    for row in rows(monitored):
        if row["lead_hours"] is None:
            continue
        place = f'source="{row["source"]}",model="{row["model"]}",threshold_mm="{row["threshold_mm"]:g}"'
        for name, outcome in OUTCOMES.items():
            labels = f'{place},lead_hours="{row["lead_hours"]}",outcome="{outcome}"'
            assert monitored.prometheus.value(f"rainpost_verification_cells_total{{{labels}}}") == row[name]


def test_the_first_counts_are_an_increase(monitored: Monitored) -> None:
    for outcome in OUTCOMES.values():
        cells = f'rainpost_verification_cells_total{{outcome="{outcome}"}}'
        assert monitored.prometheus.value(f"sum(increase({cells}[1h]))") > 0


def test_all_series_arrive(monitored: Monitored) -> None:
    for series in describe():
        name = f"{series.name}_count" if series.kind == "histogram" else series.name
        assert monitored.prometheus.query(name), f"{name} was not scraped"


def test_what_was_done_is_counted(monitored: Monitored) -> None:
    value = monitored.prometheus.value
    assert value('rainpost_jobs_total{outcome="succeeded"}') == 1
    assert value('increase(rainpost_jobs_total{outcome="failed",reason="missing-lead"}[1h])') > 0.9
    assert value('rainpost_observations_total{outcome="new"}') == 2
    reference_time = float(REFERENCE_TIME.astype(int))
    assert value("rainpost_last_published_reference_time_seconds") == reference_time
    assert value("rainpost_last_observation_time_seconds") == reference_time + 3 * 3600


def test_a_scrape_has_no_trouble(monitored: Monitored) -> None:
    (target,) = monitored.prometheus.data("/api/v1/targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")


def test_all_rules_are_evaluated(monitored: Monitored, rules: list[dict[str, Any]]) -> None:
    groups = monitored.prometheus.data("/api/v1/rules")["groups"]
    evaluated = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in evaluated} == {rule["alert"] for rule in rules}
    assert {rule["name"]: rule.get("lastError", "") for rule in evaluated if rule["health"] != "ok"} == {}


def test_an_alert_comes_out_of_a_failed_job(monitored: Monitored) -> None:
    firing = monitored.prometheus.query('ALERTS{alertname="RainpostJobsFailed",alertstate="firing"}')
    assert [labels["reason"] for labels, _ in firing] == ["missing-lead"]
    assert monitored.prometheus.query('ALERTS{alertname="RainpostDown"}') == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", CONFIGURATION),
        ("check", "rules", "--lint=all", "--lint-fatal", ALERTS),
        ("test", "rules", ALERTS.with_name("alerts.test.yml")),
    ],
    ids=lambda arguments: " ".join(str(part) for part in arguments[:2]),
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_is_content() -> None:
    done = subprocess.run(
        [program("amtool"), "check-config", ALERTMANAGER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_every_severity_has_a_receiver(severity: str) -> None:
    command = [program("amtool"), "config", "routes", "test", f"--config.file={ALERTMANAGER}"]
    done = subprocess.run([*command, f"severity={severity}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "nobody"), done.stderr


def test_inhibitions_name_alerts_that_exist(rules: list[dict[str, Any]]) -> None:
    names = {rule["alert"] for rule in rules}
    for inhibition in yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]:
        matchers = inhibition["source_matchers"] + inhibition["target_matchers"]
        for name in re.findall(r'alertname!?="(\w+)"', " ".join(matchers)):
            assert name in names


def test_promtool_is_content_with_the_series(monitored: Monitored) -> None:
    text = monitored.server.client.get("/metrics").content
    command = [program("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    ours = [line for line in done.stderr.decode().splitlines() if line.startswith("rainpost_")]
    assert ours == []


def test_every_alert_is_tested_both_ways(rules: list[dict[str, Any]]) -> None:
    document = yaml.safe_load(ALERTS.with_name("alerts.test.yml").read_text())
    cases = [case for test in document["tests"] for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in cases if case["exp_alerts"]}
    is_silent = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert fires == is_silent == {rule["alert"] for rule in rules}


def test_alerts_use_series_that_exist(rules: list[dict[str, Any]]) -> None:
    known = {series.name for series in describe()}
    known |= {f"{series.name}_{part}" for series in describe() for part in ("count", "sum", "bucket")}
    for rule in rules:
        used = set(re.findall(r"\brainpost_\w+", rule["expr"]))
        assert used <= known, rule["alert"]
        assert used or 'up{job="rainpost"}' in rule["expr"]


def test_alerts_say_what_people_need(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert not rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].strip().endswith(".")
