"""The machine that the service runs on, as a section of a dashboard."""

from __future__ import annotations

from service.monitoring.panels import (
    NEUTRAL,
    Limit,
    Query,
    Section,
    stat,
    table,
    time_series,
)


def machine() -> Section:
    """Disk, memory, processors, and what runs on them."""
    return Section(
        "Machine",
        [
            time_series(
                "Disk used",
                "Of the disk that the data folder lies on. From 90 % an alert fires.",
                [
                    Query(
                        "max by (folder) (1 - rainpost_disk_free_bytes / rainpost_disk_size_bytes)",
                        "{{folder}}",
                    )
                ],
                "percentunit",
                minimum=0,
                maximum=1,
                limits=(Limit(None, "green"), Limit(0.9, "red")),
            ),
            time_series(
                "Free disk",
                "Of the disk that the data folder lies on.",
                [Query("min by (folder) (rainpost_disk_free_bytes)", "{{folder}}")],
                "bytes",
                minimum=0,
            ),
            time_series(
                "What uses the disk",
                "Files by folder of the data folder; work holds those of jobs, uploads and copies from the "
                "inbox. RAINPOST_KEEP_DAYS bounds the rest.",
                [Query("max by (folder) (rainpost_disk_used_bytes)", "{{folder}}")],
                "bytes",
                minimum=0,
            ),
            time_series(
                "Room for cycles",
                "As large as the newest one, before submissions are refused. Below four an alert fires.",
                [
                    Query(
                        "(min(rainpost_disk_free_bytes) - max(rainpost_disk_minimum_free_bytes)) / "
                        "(max(rainpost_disk_newest_cycle_bytes) > 0)",
                        "cycles",
                    )
                ],
                "none",
                minimum=0,
                decimals=0,
                limits=(Limit(None, "red"), Limit(4, "green")),
            ),
            stat(
                "Kept",
                "How long cycles are kept (RAINPOST_KEEP_DAYS); 0 where everything is.",
                Query("max(rainpost_keep_seconds)"),
                "s",
                limits=NEUTRAL,
            ),
            time_series(
                "Memory",
                "Resident memory of the service itself; decoding runs in processes of their own.",
                [Query('process_resident_memory_bytes{job="rainpost"}', "{{instance}}")],
                "bytes",
                minimum=0,
            ),
            time_series(
                "CPU",
                "Cores that the service itself keeps busy.",
                [
                    Query(
                        'rate(process_cpu_seconds_total{job="rainpost"}[$__rate_interval])',
                        "{{instance}}",
                    )
                ],
                "none",
                minimum=0,
                decimals=2,
            ),
            table(
                "What runs",
                "Model, the provider that it runs on now, and the one that the settings require.",
                [Query("rainpost_model_info", "up", instant=True)],
                "none",
                hidden=("up", "Value"),
            ),
            table(
                "Version",
                "Of the service.",
                [Query("count by (version) (rainpost_build_info)", "processes", instant=True)],
                "none",
            ),
        ],
    )
