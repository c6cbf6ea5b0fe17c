"""``make demo``: a simulated cycle through a real service, from files to probabilities.

Writes a cycle in the shape of RDAPS-KIM, starts ``rainpost serve`` as a process of its own, posts the cycle
to ``/correct``, waits for the product, prints a table by lead, fetches a picture of every lead, posts the
simulated observations to ``/observations``, prints the scores, and stops what it started.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from service.channels import CLASSES, THRESHOLDS_MM
from service.layers import called_class
from service.product import RAW_PRECIPITATION
from training.cycle_files import write_grib2, write_netcdf, write_qpe
from training.simulate import FULL, simulate_cycle

START_LIMIT_S = 60.0
RUN_LIMIT_S = 600.0
REFERENCE_TIME = np.datetime64("2022-08-09T18", "s")
SEED = 20220810
SCORES = ("critical_success_index", "probability_of_detection", "false_alarm_ratio", "frequency_bias")
SCORE_SERIES = "rainpost_verification_critical_success_index{"


def main() -> None:
    """Run the demonstration; the exit status says whether a product came out."""
    parser = argparse.ArgumentParser(prog="python -m training.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for files and pictures")
    parser.add_argument("--form", choices=("grib2", "netcdf"), default="grib2")
    arguments = parser.parse_args()
    console = Console()
    inputs, observations = _write_cycle(console, arguments.out / "cycle", arguments.form)
    with _service(arguments.out / "service", arguments.out / "service.log") as address:
        console.print(f"service ready at {address}")
        with httpx.Client(base_url=address, timeout=RUN_LIMIT_S) as client:
            product = _correct(console, client, inputs, arguments.out / "product.nc")
            pictures = _fetch_pictures(client, product, arguments.out)
            scores = _score(console, client, observations)
    with xr.open_dataset(product) as dataset:
        console.print(_table(dataset))
        console.print(scores)
        console.print(dataset.attrs["comment"], style="dim")
    console.print(f"product   {product}")
    console.print(f"pictures  {pictures[0]} … {pictures[-1].name}")


def _write_cycle(console: Console, folder: Path, form: str) -> tuple[list[Path], list[Path]]:
    """The files of the forecast, and those of the observations."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    console.print(f"simulating a cycle of {REFERENCE_TIME} UTC over {FULL.nx} x {FULL.ny} points …")
    cycle = simulate_cycle(SEED, REFERENCE_TIME, tuple(range(24, 31)), FULL)
    paths = write_grib2(cycle, folder) if form == "grib2" else write_netcdf(cycle, folder)
    observations = write_qpe(cycle, folder)
    size_mb = sum(path.stat().st_size for path in paths) / 1e6
    console.print(f"wrote {len(paths)} files, {size_mb:.0f} MB, to {folder}")
    return paths, observations


@contextlib.contextmanager
def _service(data_folder: Path, log: Path) -> Iterator[str]:
    shutil.rmtree(data_folder, ignore_errors=True)
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"RAINPOST_DATA_FOLDER": str(data_folder), "RAINPOST_PORT": str(port)}
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve"], env=environment, stdout=output, stderr=output
        )
        try:
            _wait_until_ready(process, address, log)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/readyz").is_success:
                return
        time.sleep(0.2)
    sys.exit(f"the service did not become ready; its log, {log}, ends:\n{log.read_text()[-2000:]}")


def _correct(console: Console, client: httpx.Client, inputs: list[Path], product: Path) -> Path:
    console.print(f"POST /correct with {len(inputs)} files …")
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        files = [("files", (path.name, stack.enter_context(path.open("rb")))) for path in inputs]
        answer = client.post("/correct", files=files)
    if answer.status_code != httpx.codes.ACCEPTED:
        sys.exit(f"POST /correct answered {answer.status_code}: {answer.text}")
    job = answer.headers["Location"]
    posted = time.monotonic()
    while (state := client.get(job).json())["state"] not in {"succeeded", "failed"}:
        if time.monotonic() - started > RUN_LIMIT_S:
            sys.exit(f"the job is still {state['state']} after {RUN_LIMIT_S:.0f} s")
        time.sleep(0.1)
    if state["state"] == "failed":
        sys.exit(f"the job failed: {state['problem']}")
    finished = time.monotonic()
    console.print(f"uploaded in {posted - started:.1f} s, corrected in {finished - posted:.1f} s")
    product.write_bytes(client.get("/cycles/latest/product").raise_for_status().content)
    return product


def _fetch_pictures(client: httpx.Client, product: Path, folder: Path) -> list[Path]:
    pictures = []
    with xr.open_dataset(product) as dataset:
        leads = _leads_hours(dataset)
    for lead in leads:
        answer = client.get(
            "/cycles/latest/product", params={"lead": lead}, headers={"Accept": "image/png"}
        ).raise_for_status()
        picture = folder / f"lead_{lead:03d}.png"
        picture.write_bytes(answer.content)
        pictures.append(picture)
    return pictures


def _score(console: Console, client: httpx.Client, observations: list[Path]) -> Table:
    """Post the observations; the scores of all leads together that they lead to."""
    console.print(f"POST /observations with {len(observations)} files …")
    files = [("files", (path.name, path.read_bytes())) for path in observations]
    client.post("/observations", files=files).raise_for_status()
    rows = client.get("/verification").raise_for_status().json()["scores"]
    series = [line for line in client.get("/metrics").text.splitlines() if line.startswith(SCORE_SERIES)]
    console.print(f"the same scores in /metrics: {len(series)} series like {series[0]}")
    table = Table(title="one simulated cycle against its simulated observations, all leads together")
    table.add_column("source")
    table.add_column("threshold mm", justify="right")
    for name in SCORES:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        if row["lead_hours"] is None:
            shown = ["-" if row[name] is None else f"{row[name]:.3f}" for name in SCORES]
            table.add_row(row["source"], f"{row['threshold_mm']:g}", *shown)
    return table


def _leads_hours(dataset: xr.Dataset) -> list[int]:
    return [int(lead) for lead in dataset["lead"].values]


def _table(dataset: xr.Dataset) -> Table:
    """Shares of the window by class, as the model calls it and by the raw forecast's own amounts."""
    table = Table(title="share of the window, %: class that the model calls | raw NWP")
    table.add_column("lead h", justify="right")
    for name in CLASSES:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("highest P(heavy)", justify="right")
    table.add_column("highest raw mm/h", justify="right")
    called = called_class(dataset)
    for index, lead in enumerate(_leads_hours(dataset)):
        here = dataset.isel(lead=index)
        raw_mm = here[RAW_PRECIPITATION].values
        raw_class = np.digitize(raw_mm, THRESHOLDS_MM)
        shares = [
            f"{100 * np.mean(called[index] == number):.1f} | {100 * np.mean(raw_class == number):.1f}"
            for number in range(len(CLASSES))
        ]
        highest = float(here["class_probability"].values[-1].max())
        table.add_row(str(lead), *shares, f"{highest:.2f}", f"{raw_mm.max():.1f}")
    return table


if __name__ == "__main__":
    main()
