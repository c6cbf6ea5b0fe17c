"""What the commands of the command line do."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from service.access import check_exposure
from service.artefact import Artefact, digest_file, find_models
from service.cycle import read_cycle
from service.durability import write_durably
from service.errors import InputError
from service.inference import Inference
from service.inspection import render
from service.logs import configure_logs
from service.model_folder import identity_of, select_model
from service.runtime import Runtime
from service.series import describe
from service.server import Server
from service.settings import Settings
from service.stages import Task, origin_of, write_cycle_product
from service.submission import InputFile, Submission
from service.times import compact_time, iso_time, parse_time

_NOT_STARTED: Final = 3
"""Exit status when the address cannot be used, as uvicorn's own command has it."""


def serve(_: argparse.Namespace) -> None:
    """Answer over HTTP until a signal comes."""
    chosen = Settings.load()
    check_exposure(chosen)
    configure_logs(chosen.log_level, chosen.log_format)
    runtime = Runtime(chosen)
    # Started here, not by the application alone, so that a refusal is one clear sentence.
    runtime.start()
    server = Server(
        runtime,
        host=chosen.host,
        port=chosen.port,
        shutdown_grace_seconds=chosen.shutdown_grace_seconds,
    )
    # An interrupt from the keyboard is raised again once everything has stopped.
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(_NOT_STARTED)


def correct(options: argparse.Namespace) -> None:
    """Correct one cycle without a server."""
    chosen, artefact = _load_model(options.model)
    declared = None if options.reference_time is None else parse_time(options.reference_time)
    with progress(f"loading {artefact.identity}"):
        inference = Inference(artefact, chosen.provider, chosen.threads)
    with progress(f"hashing {len(options.files)} files"):
        submission = Submission.of(
            [_input_file(path) for path in options.files], None if declared is None else iso_time(declared)
        )
    with progress("reading and remapping"):
        cycle = read_cycle(
            options.files,
            artefact.manifest.cycle,
            weights_folder=chosen.data_folder / "weights",
            expected_reference_time=declared,
        )
    with progress(f"inferring {len(cycle.leads_hours)} leads of {iso_time(cycle.reference_time)}"):
        probabilities = inference.infer(cycle.values)
    origin = origin_of(cycle, Task(submission=submission, model=identity_of(artefact)))
    options.out.mkdir(parents=True, exist_ok=True)
    target: Path = options.out / f"{artefact.manifest.name}_{compact_time(cycle.reference_time)}.nc"
    with progress("writing"):
        write_durably(
            target, lambda path: write_cycle_product(path, 1, cycle, probabilities, inference, origin)
        )
    _say(str(target))


def inspect(options: argparse.Namespace) -> None:
    """Show what files hold, and what they lack for a model if one is installed."""
    paths = [_existing(path) for path in options.files]
    if options.model is None and not find_models(Settings.load().models_folder):
        _say(render(paths))
    else:
        _, artefact = _load_model(options.model)
        _say(render(paths, artefact.manifest.cycle))


def settings(_: argparse.Namespace) -> None:
    """List the settings."""
    for setting in Settings.describe():
        _say(f"{setting.variable}={setting.default}\n    {setting.meaning}")


def metrics(_: argparse.Namespace) -> None:
    """List the Prometheus series."""
    for series in describe():
        labels = f"{{{', '.join(series.labels)}}}" if series.labels else ""
        _say(f"{series.name}{labels}\n    {series.kind}. {series.meaning}.")


def _load_model(choice: str | None) -> tuple[Settings, Artefact]:
    chosen = Settings.load()
    return chosen, Artefact.load(select_model(chosen.models_folder, choice or chosen.model))


def _input_file(path: Path) -> InputFile:
    return InputFile(name=path.name, sha256=digest_file(_existing(path)), size_bytes=path.stat().st_size)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError("no such file", where=str(path))
    return path


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Say on standard error what is being done and how long it took."""
    sys.stderr.write(f"{what} ... ")
    sys.stderr.flush()
    started = time.perf_counter()
    try:
        yield
    except BaseException:
        sys.stderr.write("failed\n")
        raise
    sys.stderr.write(f"{time.perf_counter() - started:.2f} s\n")
