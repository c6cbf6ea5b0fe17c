"""Cycles and observations from files to an archive, whole, broken, late and in parallel."""

import json
import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import training.archive
from service.cycle import read_cycle
from service.errors import InputError
from service.observation import read_observation
from training.archive import Order, Outcome, build, report_path, summary
from training.archive_store import Archive, CycleSamples
from training.cluster import connected
from training.cycle_files import write_grib2, write_netcdf, write_qpe
from training.domain import specification
from training.simulate import KOREA, simulate_cycle
from training.sources import CycleFiles, Omission, Reading, ReadSamples

LEADS_HOURS = (25, 26)
SPECIFICATION = specification(LEADS_HOURS)
SHAPE = (SPECIFICATION.window.ny, SPECIFICATION.window.nx)
TIMES = [np.datetime64(f"2022-08-{day:02d}T00", "s") for day in (9, 11, 13)]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cycles, the second in NetCDF, in ``cycles``; observations in ``qpe``. Not to be changed."""
    folder = tmp_path_factory.mktemp("source")
    simulated = simulate_cycle(1, TIMES[0], (24, *LEADS_HOURS), KOREA)
    for number, time in enumerate(TIMES):
        cycle = replace(
            simulated,
            reference_time=time,
            accumulated_rain_mm=simulated.accumulated_rain_mm / np.float32(1 + number),
            qpe_mm=np.roll(simulated.qpe_mm, number, axis=2),
        )
        for name in ("cycles", "qpe"):
            (folder / name / str(number)).mkdir(parents=True)
        write = write_netcdf if number == 1 else write_grib2
        write(cycle, folder / "cycles" / str(number))
        write_qpe(cycle, folder / "qpe" / str(number))
    return folder


@pytest.fixture
def damaged(source: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(source, tmp_path / "damaged"))


def fabricated(cycle: CycleFiles) -> Reading:
    """In place of reading: noise, and an omission for every lead without observation."""
    generator = np.random.default_rng(int(cycle.reference_time.astype(int)))
    shape = (len(cycle.observations), len(SPECIFICATION.channels), *SHAPE)
    samples = CycleSamples(
        cycle.reference_time,
        tuple(cycle.observations),
        generator.normal(size=shape).astype(np.float32),
        generator.normal(size=(shape[0], *SHAPE)).astype(np.float32),
    )
    omissions = [
        Omission.of_lead(cycle.reference_time, lead, InputError("not observed"))
        for lead in LEADS_HOURS
        if lead not in cycle.observations
    ]
    return Reading(samples if cycle.observations else None, tuple(omissions))


def order(folder: Path) -> Order:
    return Order(folder / "cycles", folder / "qpe", SPECIFICATION, simulated=True)


def made(folder: Path, out: Path) -> tuple[Outcome, Archive]:
    outcome = build(order(folder), out, None)
    return outcome, Archive(out)


def paths_of(folder: Path, number: int, lead: int) -> list[Path]:
    return sorted(path for path in (folder / "cycles" / str(number)).iterdir() if f"{lead:03d}." in path.name)


def qpe_of(folder: Path, number: int, lead: int) -> Path:
    local = TIMES[number] + np.timedelta64(lead + 9, "h")
    return folder / "qpe" / str(number) / f"dfs_rn1_grd.{local.item():%Y%m%d%H}.txt"


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in report_path(out).read_text().splitlines()]


def test_samples_are_those_of_the_serving_path_bit_for_bit(source: Path, tmp_path: Path) -> None:
    outcome, archive = made(source, tmp_path / "a.zarr")
    assert not outcome.omissions
    assert not lines(tmp_path / "a.zarr")
    assert archive.header.specification == SPECIFICATION
    assert archive.header.simulated
    assert archive.index.leads_hours.tolist() == [25, 26] * 3
    assert archive.index.reference_times.tolist() == np.repeat(TIMES, 2).tolist()
    for number, time in enumerate(TIMES):
        cycle = read_cycle(sorted((source / "cycles" / str(number)).iterdir()), SPECIFICATION)
        for place, lead in enumerate(LEADS_HOURS):
            row = 2 * number + place
            np.testing.assert_array_equal(archive.inputs(row), cycle.values[place])
            observed = read_observation(qpe_of(source, number, lead), SPECIFICATION)
            assert observed.valid_time == time + np.timedelta64(lead, "h")
            np.testing.assert_array_equal(archive.rain_mm(row), observed.rain_mm)


def test_a_parallel_build_equals_a_serial_one(damaged: Path, tmp_path: Path) -> None:
    paths_of(damaged, 1, 26)[0].write_bytes(b"GRIB" + bytes(200))
    serial, _ = made(damaged, tmp_path / "serial.zarr")
    with connected(2) as client:
        parallel = build(order(damaged), tmp_path / "parallel.zarr", client)
    assert serial.digest == parallel.digest
    assert serial.omissions == parallel.omissions
    assert lines(tmp_path / "serial.zarr") == lines(tmp_path / "parallel.zarr")
    first, second = Archive(tmp_path / "serial.zarr"), Archive(tmp_path / "parallel.zarr")
    for name in ("reference_times", "leads_hours", "sums", "squares", "cells"):
        np.testing.assert_array_equal(getattr(first.index, name), getattr(second.index, name))


def test_what_is_broken_is_left_out_and_reported(damaged: Path, tmp_path: Path) -> None:
    broken = paths_of(damaged, 0, 26)[0]
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    for path in chain(paths_of(damaged, 1, 25), paths_of(damaged, 1, 24)):
        path.unlink()
    qpe_of(damaged, 2, 25).unlink()
    qpe_of(damaged, 2, 26).write_text("<html>404</html>")
    (damaged / "cycles" / "README").write_text("nothing")
    outcome, archive = made(damaged, tmp_path / "a.zarr")
    assert archive.index.leads_hours.tolist() == [25]
    assert archive.index.reference_times.tolist() == [TIMES[0].item()]
    found = {
        (one.left_out, one.reason, one.file and Path(one.file).name, one.reference_time, one.lead_hours)
        for one in outcome.omissions
    }
    assert found == {
        ("forecast file", "unrecognised-format", "README", None, None),
        ("forecast file", "truncated-file", broken.name, None, None),
        ("observation file", "unrecognised-format", qpe_of(damaged, 2, 26).name, None, None),
        ("lead", "missing-channel", None, "2022-08-09T00:00:00Z", 26),
        ("cycle", "missing-lead", None, "2022-08-11T00:00:00Z", None),
        ("cycle", "no-observation", None, "2022-08-13T00:00:00Z", None),
    }
    assert [Omission.model_validate(line) for line in lines(tmp_path / "a.zarr")] == list(outcome.omissions)
    text = summary(outcome, report_path(tmp_path / "a.zarr"))
    assert text.startswith("1 samples of 1 cycles, 2022-08-09T00:00:00Z to 2022-08-09T00:00:00Z")
    assert "left out: 6" in text
    assert "1 x cycle, missing-lead; first: 2022-08-11T00:00:00Z: no lead can be used" in text


def test_a_build_that_is_stopped_goes_on_to_the_same_archive_and_report(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qpe_of(damaged, 0, 26).unlink()
    qpe_of(damaged, 2, 25).unlink()
    monkeypatch.setattr(ReadSamples, "__call__", lambda _, cycle: fabricated(cycle))
    whole, _ = made(damaged, tmp_path / "whole.zarr")
    asked: list[np.datetime64] = []

    def _stopped(_: ReadSamples, cycle: CycleFiles) -> Reading:
        asked.append(cycle.reference_time)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return fabricated(cycle)

    monkeypatch.setattr(ReadSamples, "__call__", _stopped)
    with pytest.raises(KeyboardInterrupt):
        made(damaged, tmp_path / "parts.zarr")
    with report_path(tmp_path / "parts.zarr").open("a") as file:
        # Of a cycle after the last in the archive, and cut short.
        file.write(
            Omission.of_cycle(TIMES[1], "bad-input", "to be read again").model_dump_json() + '\n{"left'
        )
    resumed, _ = made(damaged, tmp_path / "parts.zarr")
    assert asked == [TIMES[0], TIMES[1], TIMES[1], TIMES[2]]
    assert resumed.digest == whole.digest
    assert resumed.omissions == whole.omissions
    assert lines(tmp_path / "parts.zarr") == lines(tmp_path / "whole.zarr")
    again, _ = made(damaged, tmp_path / "parts.zarr")
    assert len(asked) == 4
    assert again.digest == whole.digest
    assert again.omissions == whole.omissions


def test_later_cycles_are_appended_and_earlier_ones_reported(
    damaged: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReadSamples, "__call__", lambda _, cycle: fabricated(cycle))
    for number in (0, 2):
        shutil.rmtree(damaged / "cycles" / str(number))
    made(damaged, tmp_path / "a.zarr")
    for number in (0, 2):
        shutil.copytree(source / "cycles" / str(number), damaged / "cycles" / str(number))
    for _ in range(2):
        outcome, archive = made(damaged, tmp_path / "a.zarr")
        assert archive.index.reference_times.tolist() == np.repeat(TIMES[1:], 2).tolist()
        assert [(one.reason, one.reference_time) for one in outcome.omissions] == [
            ("too-late", "2022-08-09T00:00:00Z")
        ]


def test_one_file_may_hold_several_cycles(damaged: Path, source: Path, tmp_path: Path) -> None:
    joined = damaged / "cycles" / "joined.grib2"
    with joined.open("wb") as file:
        for number in (2, 0):
            for path in sorted((damaged / "cycles" / str(number)).iterdir()):
                file.write(path.read_bytes())
            shutil.rmtree(damaged / "cycles" / str(number))
    outcome, _ = made(damaged, tmp_path / "joined.zarr")
    assert not outcome.omissions
    assert outcome.digest == made(source, tmp_path / "plain.zarr")[0].digest


def test_one_folder_may_hold_both(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadSamples, "__call__", lambda _, cycle: fabricated(cycle))
    both = Order(source, source, SPECIFICATION, simulated=True)
    outcome = build(both, tmp_path / "both.zarr", None)
    assert not outcome.omissions
    assert outcome.digest == made(source, tmp_path / "a.zarr")[0].digest


def _refused(order: Order, out: Path, match: str) -> None:
    with pytest.raises(InputError, match=match):
        build(order, out, None)


def test_bad_orders_are_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "README").write_text("nothing")
    plain = order(source)
    _refused(Order(tmp_path / "none", plain.qpe, SPECIFICATION, simulated=True), tmp_path / "a", "no folder")
    _refused(
        Order(plain.cycles, tmp_path / "empty", SPECIFICATION, simulated=True), tmp_path / "a", "No files"
    )
    _refused(
        Order(plain.cycles, tmp_path / "text", SPECIFICATION, simulated=True),
        tmp_path / "a",
        "Nothing can be used.*neither GRIB nor|Nothing can be used.*no observation",
    )
    _refused(
        Order(tmp_path / "text", plain.qpe, SPECIFICATION, simulated=True),
        tmp_path / "b",
        "Nothing can be used",
    )


def test_the_command_line_makes_an_archive_and_tells(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ReadSamples, "__call__", lambda _, cycle: fabricated(cycle))
    asked = tmp_path / "specification.json"
    asked.write_text(SPECIFICATION.model_dump_json())
    arguments = [
        "training.archive",
        "--cycles",
        f"{source}/cycles",
        "--qpe",
        f"{source}/qpe",
        "--workers",
        "0",
    ]
    arguments += ["--out", f"{tmp_path}/a.zarr", "--specification", str(asked), "--simulated"]
    monkeypatch.setattr("sys.argv", arguments)
    training.archive.main()
    out = capsys.readouterr().out
    assert out.startswith("6 samples of 3 cycles, 2022-08-09T00:00:00Z to 2022-08-13T00:00:00Z, digest ")
    assert Archive(tmp_path / "a.zarr").digest in out
    assert "nothing was left out" in out
