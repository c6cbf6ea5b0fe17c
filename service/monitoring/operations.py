"""The dashboard of operations: whether forecasts come out, and what the service does."""

from __future__ import annotations

from typing import Final

from service.monitoring.machine import machine
from service.monitoring.panels import (
    NEUTRAL,
    Json,
    Limit,
    Query,
    Section,
    bar_gauge,
    dashboard,
    stacked_bars,
    stat,
    time_series,
)

_YES_NO: Final = (
    {
        "type": "value",
        "options": {"0": {"text": "no", "color": "red"}, "1": {"text": "yes", "color": "green"}},
    },
)
_COLOURS_OF_STATES: Final = tuple(
    {
        "matcher": {"id": "byName", "options": state},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
    }
    for state, color in {
        "expected": "text",
        "running": "blue",
        "partial": "orange",
        "published": "green",
        "late": "red",
        "failed": "purple",
    }.items()
)
_BAD_FROM_ZERO: Final = (Limit(None, "green"), Limit(1, "red"))


def operations() -> Json:
    """Whether forecasts come out, and what the service is doing."""
    return dashboard(
        "rainpost-operations",
        "Rainpost / Operations",
        "Cycles, jobs, requests and the machine.",
        [
            _now(),
            _cycles_and_jobs(),
            _requests(),
            machine(),
        ],
        [],
        "now-2d",
    )


def _now() -> Section:
    return Section(
        "Now",
        [
            stat(
                "Service answers",
                "Whether every process answers Prometheus.",
                Query('min(up{job="rainpost"})'),
                "none",
                mappings=_YES_NO,
                limits=NEUTRAL,
            ),
            stat(
                "Newest cycle",
                "How long ago the newest cycle with a product began. From 12 hours on an alert fires.",
                Query("time() - max(rainpost_last_published_reference_time_seconds > 0)"),
                "s",
                limits=(Limit(None, "green"), Limit(10 * 3600, "orange"), Limit(12 * 3600, "red")),
            ),
            stat(
                "Publish delay",
                "From the reference time of the newest cycle to the publication of its first revision.",
                Query("max(rainpost_publish_delay_seconds)"),
                "s",
                limits=(Limit(None, "green"), Limit(5 * 3600, "orange")),
            ),
            stat(
                "Missing leads",
                "Leads of the model that the newest cycle lacks.",
                Query('max(rainpost_cycle_leads{state="missing"})'),
                "none",
                limits=(Limit(None, "green"), Limit(1, "orange")),
            ),
            stat(
                "Oldest unfinished job",
                "How long ago the oldest job that is queued or running was accepted; 0 where there is none.",
                Query("time() - max(rainpost_oldest_unfinished_job_time_seconds > 0) or vector(0)"),
                "s",
                limits=(Limit(None, "green"), Limit(600, "orange"), Limit(1800, "red")),
            ),
            stat(
                "Firing alerts",
                "Alerts of Rainpost that fire now. OPERATIONS.md says what to do about each.",
                Query(
                    'count(ALERTS{alertstate="firing",alertname=~"Rainpost.+"}) or vector(0)',
                ),
                "none",
                limits=_BAD_FROM_ZERO,
            ),
        ],
    )


def _cycles_and_jobs() -> Section:
    return Section(
        "Cycles and jobs",
        [
            time_series(
                "Age of the newest cycle",
                "Falls when a cycle is published and rises by the hour until the next.",
                [
                    Query(
                        "time() - max(rainpost_last_published_reference_time_seconds > 0)",
                        "newest cycle",
                    )
                ],
                "s",
                width=6,
                limits=(Limit(None, "green"), Limit(12 * 3600, "red")),
                minimum=0,
            ),
            stacked_bars(
                "Cycles by state",
                "Those of the last RAINPOST_CATCH_UP_HOURS. Partial and late ones still get what is missing, "
                "when it comes.",
                [Query("max by (state) (rainpost_cycles)", "{{state}}")],
                "none",
                minimum=0,
                width=6,
                decimals=0,
                overrides=_COLOURS_OF_STATES,
            ),
            time_series(
                "Publish delay",
                "From the reference time to the publication of the first revision, of the newest cycle at "
                "each moment.",
                [Query("max(rainpost_publish_delay_seconds)", "delay")],
                "s",
                width=6,
                limits=(Limit(None, "green"), Limit(5 * 3600, "orange")),
                minimum=0,
            ),
            time_series(
                "Leads of the newest cycle",
                "Present, and missing of those that the model has.",
                [Query("max by (state) (rainpost_cycle_leads)", "{{state}}")],
                "none",
                width=6,
                minimum=0,
            ),
            stacked_bars(
                "Jobs that ended, each hour",
                "By outcome; with several processes, of all of them.",
                [Query("sum by (outcome) (increase(rainpost_jobs_total[1h]))", "{{outcome}}")],
                "none",
                decimals=0,
            ),
            bar_gauge(
                "Why jobs failed, last 7 days",
                "By the reason of the problem; GET /jobs/{id} says more of each.",
                [
                    Query(
                        'sum by (reason) (increase(rainpost_jobs_total{outcome="failed"}[7d])) > 0',
                        "{{reason}}",
                    )
                ],
                "none",
                decimals=0,
                limits=(Limit(None, "orange"),),
            ),
            time_series(
                "Unfinished jobs",
                "Queued and running, in the database that all processes share.",
                [Query("max by (state) (rainpost_unfinished_jobs)", "{{state}}")],
                "none",
                minimum=0,
                decimals=0,
            ),
            time_series(
                "Mean duration of the stages",
                "Over the 6 hours before each moment, failed ones included.",
                [
                    Query(
                        "sum by (stage) (increase(rainpost_stage_duration_seconds_sum[6h])) / "
                        "(sum by (stage) (increase(rainpost_stage_duration_seconds_count[6h])) > 0)",
                        "{{stage}}",
                    )
                ],
                "s",
                width=12,
                minimum=0,
            ),
            time_series(
                "95th percentile of the stages",
                "Over the day before each moment, to the width of the histogram's buckets.",
                [
                    Query(
                        "histogram_quantile(0.95, sum by (le, stage) "
                        "(increase(rainpost_stage_duration_seconds_bucket[1d])))",
                        "{{stage}}",
                    )
                ],
                "s",
                width=12,
                minimum=0,
            ),
        ],
    )


def _requests() -> Section:
    return Section(
        "Requests",
        [
            stacked_bars(
                "Requests",
                "Each second, by route.",
                [
                    Query(
                        "sum by (route) (rate(rainpost_http_request_duration_seconds_count"
                        "[$__rate_interval]))",
                        "{{route}}",
                    )
                ],
                "reqps",
            ),
            time_series(
                "Answers that are not successes",
                "Each second, by status. 4xx is the client's; 500 is a fault of the service.",
                [
                    Query(
                        "sum by (status) (rate(rainpost_http_request_duration_seconds_count"
                        '{status=~"[45].."}[$__rate_interval]))',
                        "{{status}}",
                    ),
                    Query(
                        "sum(rate(rainpost_http_request_duration_seconds_count"
                        '{status="500"}[$__rate_interval])) or vector(0)',
                        "500",
                    ),
                ],
                "reqps",
                minimum=0,
            ),
            time_series(
                "95th percentile of the requests",
                "By route, to the width of the histogram's buckets. POST /correct with Prefer: wait waits "
                "for its product.",
                [
                    Query(
                        "histogram_quantile(0.95, sum by (le, route) "
                        "(rate(rainpost_http_request_duration_seconds_bucket[$__rate_interval])))",
                        "{{route}}",
                    )
                ],
                "s",
                minimum=0,
            ),
            stacked_bars(
                "Submissions, each hour",
                "Accepted by POST /correct: new jobs, and those that were known already.",
                [Query("sum by (job) (increase(rainpost_submissions_total[1h]))", "{{job}}")],
                "none",
                decimals=0,
            ),
            stacked_bars(
                "Deliveries of events, each hour",
                "Attempts to deliver an event to a receiver of RAINPOST_WEBHOOK_URLS, by outcome; those that "
                "failed are followed by another.",
                [
                    Query(
                        "sum by (receiver, outcome) (increase(rainpost_webhook_deliveries_total[1h]))",
                        "{{receiver}} {{outcome}}",
                    )
                ],
                "none",
                decimals=0,
            ),
            time_series(
                "Oldest event that waits",
                "For how long a receiver has not taken it. From 15 minutes on an alert fires.",
                [
                    Query(
                        "time() - max by (receiver) "
                        "(rainpost_webhook_oldest_waiting_event_time_seconds > 0) "
                        "or max by (receiver) (rainpost_webhook_oldest_waiting_event_time_seconds)",
                        "{{receiver}}",
                    )
                ],
                "s",
                minimum=0,
                limits=(Limit(None, "green"), Limit(900, "red")),
            ),
            time_series(
                "Databases answer",
                "Whether the databases of the jobs and of the ledger answer.",
                [
                    Query("min(rainpost_job_database_up)", "jobs"),
                    Query("min(rainpost_ledger_up)", "ledger"),
                ],
                "bool_yes_no",
                minimum=0,
                maximum=1,
            ),
        ],
    )
