"""Panels of Grafana dashboards as the JSON that Grafana reads, put side by side without overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

DATASOURCE: Final = {"type": "prometheus", "uid": "rainpost-prometheus"}
"""As ``grafana/provisioning/datasources/prometheus.yml`` has it."""

SCHEMA_VERSION: Final = 39
_COLUMNS: Final = 24
_HEADING_HEIGHT: Final = 1

Json = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """PromQL and how its series are called. instant: the newest values alone, as a table."""

    expression: str
    legend: str = ""
    instant: bool = False


@dataclass(frozen=True)
class Limit:
    """From this value on the colour holds; the first limit of a panel has none."""

    value: float | None
    color: str


GOOD: Final = (Limit(None, "green"),)
NEUTRAL: Final = (Limit(None, "text"),)


@dataclass(frozen=True)
class Panel:
    """What is common to all kinds.

    kind, unit: Grafana's names. description: shown at the panel's corner; what a reader needs to judge it.
    limits: colours, drawn as lines in time series. options, custom: those of the kind.
    """

    kind: str
    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "none"
    width: int = 8
    height: int = 8
    limits: tuple[Limit, ...] = GOOD
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = None
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    overrides: tuple[Json, ...] = ()
    mappings: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()

    def document(self, number: int, x: int, y: int) -> Json:
        """The panel as Grafana reads it, at a position in columns and rows."""
        defaults: Json = {
            "unit": self.unit,
            "color": {"mode": "thresholds" if self.kind in _COLOURED_BY_VALUE else "palette-classic"},
            "thresholds": {
                "mode": "absolute",
                "steps": [{"value": limit.value, "color": limit.color} for limit in self.limits],
            },
            "mappings": list(self.mappings),
            "custom": self.custom,
        }
        numbers = {"min": self.minimum, "max": self.maximum, "decimals": self.decimals}
        defaults |= {name: value for name, value in numbers.items() if value is not None}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": defaults, "overrides": list(self.overrides)},
            "options": self.options,
            "targets": [_target(query, chr(ord("A") + index)) for index, query in enumerate(self.queries)],
            "transformations": list(self.transformations),
        }


_COLOURED_BY_VALUE: Final = ("stat", "gauge", "bargauge")


@dataclass(frozen=True)
class Section:
    """A heading and the panels below it, from left to right and on to the next line."""

    title: str
    panels: Sequence[Panel]


def time_series(title: str, description: str, queries: Sequence[Query], unit: str, **more: Any) -> Panel:
    """Lines over time with a legend that tells the last value; limits are drawn where there are any."""
    custom = {
        "lineWidth": 2,
        "fillOpacity": 8,
        "showPoints": "never",
        "spanNulls": False,
        "thresholdsStyle": {"mode": "dashed" if more.get("limits") else "off"},
    }
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "min", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    more["custom"] = custom | more.get("custom", {})
    return Panel("timeseries", title, description, queries, unit, options=options, **more)


def stacked_bars(title: str, description: str, queries: Sequence[Query], unit: str, **more: Any) -> Panel:
    """Counts per interval, one on top of the other."""
    custom = {"drawStyle": "bars", "fillOpacity": 70, "lineWidth": 0, "stacking": {"mode": "normal"}}
    return time_series(title, description, queries, unit, custom=custom, **more)


def stat(title: str, description: str, query: Query, unit: str, **more: Any) -> Panel:
    """One number, coloured by its limits."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
    }
    sizes = {"width": 4, "height": 4} | more
    return Panel("stat", title, description, [query], unit, options=options, **sizes)


def bar_gauge(title: str, description: str, queries: Sequence[Query], unit: str, **more: Any) -> Panel:
    """The newest value of each series as a bar."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "horizontal",
        "displayMode": "basic",
        "showUnfilled": True,
        "namePlacement": "left",
    }
    return Panel("bargauge", title, description, queries, unit, options=options, **more)


def table(title: str, description: str, queries: Sequence[Query], unit: str, **more: Any) -> Panel:
    """Rows of labels with a column for each query; the legend of a query names its column."""
    names = {f"Value #{chr(ord('A') + index)}": query.legend for index, query in enumerate(queries)}
    if len(queries) == 1:
        names["Value"] = queries[0].legend
    hidden = dict.fromkeys(("Time", "__name__", "job", "instance", *more.pop("hidden", ())), True)
    transformations = (
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": hidden, "renameByName": names}},
    )
    options = {"showHeader": True, "cellHeight": "sm"}
    return Panel(
        "table", title, description, queries, unit, options=options, transformations=transformations, **more
    )


def bar_chart(
    title: str, description: str, query: Query, unit: str, *, rows: str, columns: str, **more: Any
) -> Panel:
    """Groups of bars: a group for each value of the label ``rows``, a bar for each value of ``columns``."""
    transformations = (
        {
            "id": "groupingToMatrix",
            "options": {"rowField": rows, "columnField": columns, "valueField": "Value"},
        },
    )
    options = {
        "xField": f"{rows}\\{columns}",
        "legend": {"displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "none"},
        "showValue": "never",
        "groupWidth": 0.7,
    }
    return Panel(
        "barchart",
        title,
        description,
        [query],
        unit,
        options=options,
        transformations=transformations,
        **more,
    )


def choice(name: str, label: str, query: str, default: str) -> Json:
    """A variable whose values are those of a label in the data."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "values"},
        "refresh": 2,
        "sort": 3,
        "current": {"text": default, "value": default},
    }


def fixed_choice(name: str, label: str, values: Sequence[str], default: str) -> Json:
    """A variable with these values."""
    return {
        "name": name,
        "label": label,
        "type": "custom",
        "query": ",".join(values),
        "options": [{"text": value, "value": value, "selected": value == default} for value in values],
        "current": {"text": default, "value": default},
    }


def dashboard(
    uid: str, title: str, description: str, sections: Sequence[Section], variables: Sequence[Json], since: str
) -> Json:
    """A whole dashboard. since: how far back it looks when it is opened, such as now-7d."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["rainpost"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "1m",
        "time": {"from": since, "to": "now"},
        "templating": {"list": list(variables)},
        "annotations": {"list": [_ALERTS_AS_ANNOTATIONS]},
        "links": [
            {
                "type": "dashboards",
                "title": "Rainpost",
                "tags": ["rainpost"],
                "asDropdown": False,
                "includeVars": False,
                "keepTime": True,
            }
        ],
        "panels": list(_placed(sections)),
    }


_ALERTS_AS_ANNOTATIONS: Final[Json] = {
    "name": "Alerts",
    "datasource": DATASOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": 'ALERTS{alertstate="firing",alertname=~"Rainpost.+"}',
    "titleFormat": "{{alertname}}",
    "textFormat": "{{severity}}",
    "step": "60s",
}


def _target(query: Query, reference: str) -> Json:
    form = {"instant": True, "range": False, "format": "table"} if query.instant else {"range": True}
    return {
        "refId": reference,
        "datasource": DATASOURCE,
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
    } | form


def _placed(sections: Sequence[Section]) -> Iterator[Json]:
    number, y = 0, 0
    for section in sections:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": section.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": _HEADING_HEIGHT},
            "panels": [],
        }
        y += _HEADING_HEIGHT
        x, line_height = 0, 0
        for panel in section.panels:
            if x + panel.width > _COLUMNS:
                x, y, line_height = 0, y + line_height, 0
            number += 1
            yield panel.document(number, x, y)
            x += panel.width
            line_height = max(line_height, panel.height)
        y += line_height
