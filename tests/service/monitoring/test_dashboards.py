"""The dashboards: what Grafana needs to show them, and every query of theirs against a real Prometheus."""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import Any

import pytest
import yaml

from service.monitoring.dashboards import DASHBOARDS, FOLDER, text
from service.monitoring.panels import DATASOURCE
from service.series import describe
from tests.service.monitoring.conftest import Monitored
from tests.service.monitoring.sample_prometheus import MONITORING

Json = dict[str, Any]

VARIABLES = {"$threshold": "0.1", "$days": "7", "$__rate_interval": "1m", "$__range": "1h"}


def documents() -> dict[str, Json]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels() -> list[tuple[str, Json]]:
    """Those with queries, with the name of their dashboard."""
    return [
        (name, panel)
        for name, document in documents().items()
        for panel in document["panels"]
        if panel["type"] != "row"
    ]


def expressions() -> list[Any]:
    return [
        pytest.param(target["expr"], id=f"{name}-{panel['title']}-{target['refId']}")
        for name, panel in panels()
        for target in panel["targets"]
    ]


def filled(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, "a variable that no dashboard has"
    return expression


def test_the_files_are_those_of_their_source() -> None:
    assert set(documents()) == set(DASHBOARDS)
    for name in DASHBOARDS:
        assert (FOLDER / f"{name}.json").read_text() == text(name), (
            "run python -m service.monitoring.dashboards"
        )


@pytest.mark.parametrize("expression", expressions())
def test_every_query_returns_data(monitored: Monitored, expression: str) -> None:
    found = monitored.prometheus.query(filled(expression))
    assert found, "no data"
    assert any(math.isfinite(value) for _, value in found), "nothing that could be drawn"


@pytest.mark.parametrize(("name", "panel"), panels())
def test_legends_use_labels_that_are_there(monitored: Monitored, name: str, panel: Json) -> None:
    for target in panel["targets"]:
        wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        for labels, _ in monitored.prometheus.query(filled(target["expr"])):
            assert wanted <= set(labels)
            assert wanted or len(labels) <= 1 or target.get("format") == "table"


@pytest.mark.parametrize(("name", "panel"), [one for one in panels() if one[1]["type"] == "barchart"])
def test_bars_are_grouped_by_labels_that_are_there(monitored: Monitored, name: str, panel: Json) -> None:
    (options,) = [one["options"] for one in panel["transformations"] if one["id"] == "groupingToMatrix"]
    (target,) = panel["targets"]
    found = monitored.prometheus.query(filled(target["expr"]))
    places = [(labels[options["rowField"]], labels[options["columnField"]]) for labels, _ in found]
    assert len(set(places)) == len(places) > 2
    assert all(set(labels) == {options["rowField"], options["columnField"]} for labels, _ in found)
    assert panel["options"]["xField"] == f"{options['rowField']}\\{options['columnField']}"


def test_variables_have_values(monitored: Monitored) -> None:
    for document in documents().values():
        for variable in document["templating"]["list"]:
            values = (
                re.fullmatch(r"label_values\((\w+), (\w+)\)", str(variable["query"]["query"]))
                if (variable["type"] == "query")
                else None
            )
            if values is not None:
                path = f"/api/v1/label/{values[2]}/values"
                found = monitored.prometheus.data(path, **{"match[]": values[1]})
                assert variable["current"]["value"] in found
            else:
                assert variable["current"]["value"] in variable["query"].split(",")


@pytest.mark.parametrize("name", list(DASHBOARDS))
def test_panels_have_a_place_of_their_own(name: str) -> None:
    found = documents()[name]["panels"]
    numbers = [panel["id"] for panel in found]
    assert len(set(numbers)) == len(numbers)
    for panel in found:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
    for one, other in itertools.combinations([panel["gridPos"] for panel in found], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_panels_say_what_they_show() -> None:
    for name, panel in panels():
        assert panel["description"].endswith("."), (name, panel["title"])
        assert not panel["title"].endswith(".")
        assert panel["datasource"] == DATASOURCE
        assert all(target["datasource"] == DATASOURCE for target in panel["targets"])
        references = [target["refId"] for target in panel["targets"]]
        assert references == sorted(set(references))
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"]
        steps = [step["value"] for step in defaults["thresholds"]["steps"]]
        assert steps[0] is None
        assert steps[1:] == sorted(steps[1:])


def test_the_dashboards_can_be_told_apart() -> None:
    for member in ("uid", "title"):
        found = [document[member] for document in documents().values()]
        assert len(set(found)) == len(found) == 3
    assert all(len(document["uid"]) <= 40 for document in documents().values())


def test_every_series_is_shown_somewhere() -> None:
    shown = " ".join(target["expr"] for _, panel in panels() for target in panel["targets"])
    used = set(re.findall(r"\brainpost_\w+", shown))
    for series in describe():
        names = {series.name, *(f"{series.name}_{part}" for part in ("count", "sum", "bucket"))}
        assert names & used, f"{series.name} is in no dashboard"
    known = {name for series in describe() for name in _names(series.name)}
    assert used <= known


def _names(name: str) -> set[str]:
    return {name, *(f"{name}_{part}" for part in ("count", "sum", "bucket"))}


def test_the_data_source_is_the_one_of_the_panels() -> None:
    path = MONITORING / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(path.read_text())["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == DATASOURCE
    scrape = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]
