"""The dashboard of health: whether input and output look like what the model was made for."""

from __future__ import annotations

from typing import Final

from service.monitoring.panels import (
    Json,
    Limit,
    Query,
    Section,
    bar_chart,
    bar_gauge,
    dashboard,
    stacked_bars,
    time_series,
)

_Z_LIMITS: Final = (Limit(None, "green"), Limit(3, "red"))
"""As in the alert on drift."""


def health() -> Json:
    """Whether input and output look like what the model was made for."""
    return dashboard(
        "rainpost-health",
        "Rainpost / Input and output health",
        "The newest cycle as the network saw it, and what came out.",
        [
            _input(),
            _output(),
            _observations(),
        ],
        [],
        "now-7d",
    )


def _input() -> Section:
    return Section(
        "Input",
        [
            time_series(
                "Mean z-score by channel",
                "Over all cells and leads of the newest cycle. 0 is the mean of the training; the alert on "
                "drift fires when a day's mean is beyond 3 on either side.",
                [Query("max by (channel) (rainpost_input_z_score_mean)", "{{channel}}")],
                "none",
                width=12,
                height=10,
                decimals=2,
                limits=_Z_LIMITS,
            ),
            bar_gauge(
                "Farthest from the training, mean of the last day",
                "Magnitude of the day's mean z-score. From 3 on the alert on drift fires.",
                [
                    Query(
                        "sort_desc(max by (channel) (abs(avg_over_time(rainpost_input_z_score_mean[1d]))))",
                        "{{channel}}",
                    )
                ],
                "none",
                width=12,
                height=10,
                minimum=0,
                maximum=5,
                decimals=2,
                limits=(Limit(None, "green"), Limit(2, "orange"), Limit(3, "red")),
            ),
            time_series(
                "Standard deviation of the z-scores by channel",
                "1 in the training. Near 0 the field is constant; rain is, on a dry day.",
                [Query("max by (channel) (rainpost_input_z_score_standard_deviation)", "{{channel}}")],
                "none",
                minimum=0,
                decimals=2,
            ),
            time_series(
                "Largest z-score by channel",
                "Largest magnitude in any cell. Rain has a long tail; other channels beyond 10 are odd.",
                [Query("max by (channel) (rainpost_input_z_score_largest)", "{{channel}}")],
                "none",
                minimum=0,
                decimals=1,
            ),
            time_series(
                "Missing input by channel",
                "Share of the values that are NaN or belong to a missing lead.",
                [Query("max by (channel) (rainpost_input_missing_ratio)", "{{channel}}")],
                "percentunit",
                minimum=0,
                maximum=1,
            ),
        ],
    )


def _output() -> Section:
    return Section(
        "Output",
        [
            time_series(
                "Share of heavy rain",
                "Mean over the leads of the newest cycle, of what the model calls and of the raw amount. "
                "What the two share is weather; where they part, the model corrects.",
                [
                    Query(
                        "avg by (source) (max by (source, lead_hours) "
                        '(rainpost_output_class_ratio{class="heavy_rain"}))',
                        "{{source}}",
                    )
                ],
                "percentunit",
                width=12,
                minimum=0,
                decimals=2,
            ),
            time_series(
                "Share of rain of any amount",
                "As the share of heavy rain, of all classes but no rain.",
                [
                    Query(
                        "1 - avg by (source) (max by (source, lead_hours) "
                        '(rainpost_output_class_ratio{class="no_rain"}))',
                        "{{source}}",
                    )
                ],
                "percentunit",
                width=12,
                minimum=0,
                maximum=1,
                decimals=1,
            ),
            bar_chart(
                "Heavy rain by lead",
                "Of the newest cycle. Leads are corrected one by one: a jump is worth a look.",
                Query(
                    'max by (source, lead_hours) (rainpost_output_class_ratio{class="heavy_rain"})',
                    instant=True,
                ),
                "percentunit",
                rows="lead_hours",
                columns="source",
                width=12,
                minimum=0,
                decimals=2,
            ),
            bar_chart(
                "Classes of the model by lead",
                "Share of the cells for which each class is called.",
                Query(
                    'max by (class, lead_hours) (rainpost_output_class_ratio{source="model"})',
                    instant=True,
                ),
                "percentunit",
                rows="lead_hours",
                columns="class",
                width=12,
                minimum=0,
                maximum=1,
                decimals=1,
            ),
        ],
    )


def _observations() -> Section:
    return Section(
        "Observations",
        [
            time_series(
                "Age of the newest observation",
                "Since the end of the newest observed hour. From 3 hours on an alert fires.",
                [
                    Query(
                        "time() - max(rainpost_last_observation_time_seconds > 0)",
                        "newest observation",
                    )
                ],
                "s",
                width=12,
                minimum=0,
                limits=(Limit(None, "green"), Limit(3 * 3600, "orange")),
            ),
            stacked_bars(
                "Observations, each hour",
                "New ones, those that were known already, and those that were refused.",
                [Query("sum by (outcome) (increase(rainpost_observations_total[1h]))", "{{outcome}}")],
                "none",
                width=12,
                decimals=0,
            ),
        ],
    )
