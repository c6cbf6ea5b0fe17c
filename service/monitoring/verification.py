"""The dashboard of verification: what the forecasts are worth."""

from __future__ import annotations

from typing import Final

from service.monitoring.panels import (
    NEUTRAL,
    Json,
    Limit,
    Query,
    Section,
    bar_chart,
    bar_gauge,
    choice,
    dashboard,
    fixed_choice,
    stacked_bars,
    stat,
    table,
    time_series,
)

_ALL_LEADS: Final = 'lead_hours="all",threshold_mm="$threshold",days="$days"'
_BY_LEAD: Final = 'lead_hours!="all",threshold_mm="$threshold",days="$days"'
_CSI: Final = "critical_success_index"
_HIT: Final = '="hit"'
_RELEVANT: Final = '!="correct_negative"'
_BY_THRESHOLD: Final = 'lead_hours="all",days="$days"'


def _score(name: str, labels: str) -> str:
    return f"rainpost_verification_{name}{{{labels}}}"


def _by_source(name: str) -> Query:
    return Query(f"max by (source, model) ({_score(name, _ALL_LEADS)})", "{{source}} {{model}}")


def _newest(name: str, source: str, role: str = "active") -> str:
    """Of the model that has the role now, whatever else was scored in these days; raw has no role."""
    labels = f'source="{source}",{_ALL_LEADS}'
    if source == "raw":
        return f"max({_score(name, labels)})"
    has_role = f'label_join(rainpost_model_info{{role="{role}"}}, "model", "-", "name", "version")'
    return f"max({_score(name, labels)} and on (model) {has_role})"


def _cells(outcome: str) -> str:
    """Cells of the shown range by source; each process shows the whole ledger."""
    selected = f'rainpost_verification_cells_total{{threshold_mm="$threshold",outcome{outcome}}}'
    return f"max by (source) (sum by (instance, source) (increase({selected}[$__range])))"


def verification() -> Json:
    """What the forecasts are worth: the model against the raw forecast that it corrects."""
    return dashboard(
        "rainpost-verification",
        "Rainpost / Verification",
        "Scores against observed precipitation, of the model and of the raw forecast.",
        [
            _newest_scores(),
            _over_time(),
            _shadow(),
            _all_thresholds(),
        ],
        [
            choice(
                "threshold",
                "Threshold, mm",
                "label_values(rainpost_verification_matches, threshold_mm)",
                "0.1",
            ),
            fixed_choice("days", "Days", ("1", "7", "30"), "7"),
        ],
        "now-30d",
    )


def _newest_scores() -> Section:
    return Section(
        "The last $days days at $threshold mm",
        [
            stat(
                "CSI, model",
                "Critical success index of the model: hits / (hits + misses + false alarms). 1 is perfect.",
                Query(_newest("critical_success_index", "model")),
                "none",
                decimals=3,
                limits=NEUTRAL,
            ),
            stat(
                "CSI, raw forecast",
                "Critical success index of the forecast before correction.",
                Query(_newest("critical_success_index", "raw")),
                "none",
                decimals=3,
                limits=NEUTRAL,
            ),
            stat(
                "Gain",
                "CSI of the model less that of the raw forecast. Below 0 the correction does harm.",
                Query(f"{_newest(_CSI, 'model')} - {_newest(_CSI, 'raw')}"),
                "none",
                decimals=3,
                limits=(Limit(None, "red"), Limit(0, "orange"), Limit(0.01, "green")),
            ),
            stat(
                "Matches",
                "Leads of products that were compared with an observation. Below 48 the scores are "
                "those of single events.",
                Query(_newest("matches", "model")),
                "none",
                limits=(Limit(None, "orange"), Limit(48, "green")),
            ),
            stat(
                "Newest verified hour",
                "How long ago the newest hour ended that was compared. The scores above are of the "
                "days before it.",
                Query("time() - max(rainpost_last_verified_time_seconds > 0)"),
                "s",
                limits=(Limit(None, "green"), Limit(3 * 86400, "orange")),
            ),
            stat(
                "Newest observation",
                "How long ago the newest observed hour ended. Observations come each hour.",
                Query("time() - max(rainpost_last_observation_time_seconds > 0)"),
                "s",
                limits=(Limit(None, "green"), Limit(3 * 3600, "orange")),
            ),
        ],
    )


def _over_time() -> Section:
    return Section(
        "Model against raw forecast",
        [
            time_series(
                "Critical success index",
                "Hits / (hits + misses + false alarms) over the $days days before each moment.",
                [_by_source("critical_success_index")],
                "none",
                width=12,
                minimum=0,
                maximum=1,
                decimals=3,
            ),
            bar_chart(
                "Critical success index by lead",
                "The newest value for each lead, in hours. A forecast loses skill with its lead.",
                Query(
                    "max by (system, lead_hours) (label_join("
                    f'{_score("critical_success_index", _BY_LEAD)}, "system", " ", "source", "model"))',
                    instant=True,
                ),
                "none",
                rows="lead_hours",
                columns="system",
                width=12,
                minimum=0,
                decimals=3,
            ),
            time_series(
                "Probability of detection",
                "Share of the observed events that were forecast; also called recall.",
                [_by_source("probability_of_detection")],
                "percentunit",
                minimum=0,
                maximum=1,
            ),
            time_series(
                "False alarm ratio",
                "Share of the forecast events that were not observed; 1 less the precision.",
                [_by_source("false_alarm_ratio")],
                "percentunit",
                minimum=0,
                maximum=1,
            ),
            time_series(
                "Frequency bias",
                "Events forecast for each event observed. Above 1 it is forecast too often.",
                [_by_source("frequency_bias")],
                "none",
                decimals=2,
                limits=(Limit(None, "green"), Limit(1, "text")),
            ),
            time_series(
                "Brier score",
                "Mean squared error of the probability; 0 is perfect. An amount counts as a probability of 0 "
                "or 1.",
                [_by_source("brier_score")],
                "none",
                minimum=0,
                decimals=4,
            ),
            time_series(
                "F1",
                "Harmonic mean of precision and recall.",
                [_by_source("f1")],
                "none",
                minimum=0,
                maximum=1,
                decimals=3,
            ),
            stacked_bars(
                "Matches of the last day",
                "Leads of products that were compared with an observation, in the day before each moment.",
                [
                    Query(
                        'max(rainpost_verification_matches{source="model",lead_hours="all",'
                        'threshold_mm="$threshold",days="1"})',
                        "matches",
                    )
                ],
                "none",
            ),
        ],
    )


def _shadow() -> Section:
    return Section(
        "Shadow: the model that is scored and not published",
        [
            stat(
                "CSI, shadow",
                "Critical success index of the shadow over the $days days, where there is one.",
                Query(_newest(_CSI, "shadow", "shadow")),
                "none",
                decimals=3,
                limits=NEUTRAL,
            ),
            stat(
                "Gain of the shadow",
                "CSI of the shadow less that of the active model. Compare their matches before you change "
                "models: both must have seen the same hours.",
                Query(f"{_newest(_CSI, 'shadow', 'shadow')} - {_newest(_CSI, 'model')}"),
                "none",
                decimals=3,
                limits=(Limit(None, "red"), Limit(0, "orange"), Limit(0.01, "green")),
            ),
            stat(
                "Matches, shadow",
                "Leads of products of the shadow that were compared with an observation. Below 48 the scores "
                "are those of single events.",
                Query(_newest("matches", "shadow", "shadow")),
                "none",
                limits=(Limit(None, "orange"), Limit(48, "green")),
            ),
            stacked_bars(
                "Runs of the shadow",
                "Cycles that the shadow ran on, or failed on, in the hour before each moment. A failure "
                "costs its score and nothing else; the log says why it failed.",
                [Query("sum by (outcome) (increase(rainpost_shadow_runs_total[1h]))", "{{outcome}}")],
                "none",
            ),
        ],
    )


def _all_thresholds() -> Section:
    return Section(
        "All thresholds",
        [
            table(
                "Scores",
                "All leads together, over the $days days before the newest verified hour.",
                [
                    Query(
                        f"max by (source, model, threshold_mm) ({_score(name, _BY_THRESHOLD)})",
                        heading,
                        instant=True,
                    )
                    for name, heading in (
                        ("critical_success_index", "CSI"),
                        ("probability_of_detection", "POD"),
                        ("false_alarm_ratio", "FAR"),
                        ("precision", "Precision"),
                        ("recall", "Recall"),
                        ("f1", "F1"),
                        ("frequency_bias", "Bias"),
                        ("brier_score", "Brier"),
                        ("matches", "Matches"),
                    )
                ],
                "none",
                width=16,
                decimals=3,
            ),
            bar_gauge(
                "CSI of what was counted in the shown range",
                "From the counters, so for any range: hits / (hits + misses + false alarms) of all that "
                "was compared while it is shown here. Revised observations count again.",
                [Query(f"{_cells(_HIT)} / {_cells(_RELEVANT)}", "{{source}}")],
                "none",
                minimum=0,
                maximum=1,
                decimals=3,
            ),
        ],
    )
