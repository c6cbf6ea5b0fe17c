"""The plan of the simulated cycles, and making them. The simulation is replaced where it is not what is
tested."""

from pathlib import Path

import numpy as np
import pytest

import training.dataset
from service.errors import InputError
from training.archive_store import CycleSamples
from training.dataset import Plan, Task, build, reference_times, simulate_samples, tasks
from training.domain import LEADS_HOURS, WHOLE_GRID, WINDOW
from training.samples import DataSettings, Split
from training.splits import SPLITS

PLAN = Plan(training_cycles=3, evaluation_cycles=1, leads_per_cycle=2, seed=5)


def _fabricated_samples(task: Task) -> CycleSamples:
    generator = np.random.default_rng(task.seed)
    inputs = 300 + 10 * generator.normal(size=(2, 16, WINDOW.ny, WINDOW.nx))
    rain_mm = generator.gamma(0.2, 4, (2, WINDOW.ny, WINDOW.nx)).astype(np.float32)
    if task.slot == 0:
        rain_mm[0] = 0
    return CycleSamples(task.reference_time, task.leads_hours, inputs.astype(np.float32), rain_mm)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Replaces the simulation; the list collects what was asked of it."""
    asked: list[Task] = []

    def _samples(task: Task) -> CycleSamples:
        asked.append(task)
        return _fabricated_samples(task)

    monkeypatch.setattr(training.dataset, "simulate_samples", _samples)
    return asked


def test_cycles_lie_in_the_months_of_their_split() -> None:
    months = {split: reference_times(split).astype("datetime64[M]").astype(int) % 12 + 1 for split in SPLITS}
    assert set(months["train"]) == {6, 7, 8, 9}
    assert set(months["test"]) == {8}
    assert set(months["validation"]) == {9}
    assert reference_times("train").max() < np.datetime64("2022-01-01")
    assert set(np.diff(reference_times("test")[:112])) == {np.timedelta64(6, "h")}


def test_tasks_are_reproducible_and_distinct() -> None:
    plan = Plan(training_cycles=50, evaluation_cycles=20, leads_per_cycle=2, seed=5)
    everything = [task for split in SPLITS for task in tasks(plan, split)]
    assert everything == [task for split in SPLITS for task in tasks(plan, split)]
    assert len({task.seed for task in everything}) == 90
    assert len({task.reference_time for task in everything}) == 90
    assert {lead for task in everything for lead in task.leads_hours} == set(LEADS_HOURS)
    assert all(later - earlier == 1 for earlier, later in (task.leads_hours for task in everything))
    assert tasks(plan.model_copy(update={"seed": 6}), "train")[0].seed != everything[0].seed


def test_a_plan_gives_the_same_cycles_for_ever() -> None:
    first = tasks(Plan(training_cycles=2000, evaluation_cycles=200, leads_per_cycle=2, seed=1), "test")[0]
    assert first == Task("test", 0, 1596810411, np.datetime64("2022-08-01", "s"), (26, 27))


def test_more_cycles_than_the_period_has_are_refused_before_the_first(
    simulated: list[Task], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="at most 224"):
        build(tmp_path / "a.zarr", PLAN.model_copy(update={"evaluation_cycles": 225}), processes=1)
    assert not simulated


def test_every_split_gets_the_samples_of_its_tasks_bit_for_bit(simulated: list[Task], tmp_path: Path) -> None:
    description = build(tmp_path / "a.zarr", PLAN, processes=1)
    assert description.samples == {"train": 6, "validation": 2, "test": 2}
    assert description.wet_samples == {"train": 5, "validation": 1, "test": 1}
    for name in SPLITS:
        split = Split(DataSettings(archive=tmp_path / "a.zarr"), name)
        for task in tasks(PLAN, name):
            expected = _fabricated_samples(task)
            rows = [2 * task.slot, 2 * task.slot + 1]
            np.testing.assert_array_equal(split.physical(rows[1]), expected.inputs[1])
            np.testing.assert_array_equal(split.rain_mm(rows), expected.rain_mm)
            assert split.leads_hours[rows].tolist() == list(task.leads_hours)
            assert set(split.reference_times[rows]) == {task.reference_time}


def test_a_stopped_run_goes_on_and_ends_the_same(
    simulated: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build(tmp_path / "whole.zarr", PLAN, processes=1)
    asked = list(simulated)

    def _stop(task: Task) -> CycleSamples:
        if task == asked[3]:
            raise KeyboardInterrupt
        return _fabricated_samples(task)

    with monkeypatch.context() as patched:
        patched.setattr(training.dataset, "simulate_samples", _stop)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "parts.zarr", PLAN, processes=1)
    simulated.clear()
    assert build(tmp_path / "parts.zarr", PLAN, processes=1) == whole
    assert simulated == asked[3:]
    simulated.clear()
    assert build(tmp_path / "parts.zarr", PLAN, processes=1) == whole
    assert not simulated


def test_a_cycle_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def _broken(task: Task) -> CycleSamples:
        raise InputError("no atmosphere has this")

    monkeypatch.setattr(training.dataset, "simulate_samples", _broken)
    with pytest.raises(InputError, match="no atmosphere") as caught:
        build(tmp_path / "a.zarr", PLAN, processes=1)
    assert f"seed={tasks(PLAN, 'train')[0].seed}" in caught.value.__notes__[0]


def test_an_archive_of_another_plan_is_refused(simulated: list[Task], tmp_path: Path) -> None:
    build(tmp_path / "a.zarr", PLAN, processes=1)
    with pytest.raises(InputError, match="holds something else"):
        build(tmp_path / "a.zarr", PLAN.model_copy(update={"seed": 6}), processes=1)


def test_the_digest_follows_the_data(simulated: list[Task], tmp_path: Path) -> None:
    first = build(tmp_path / "a.zarr", PLAN, processes=1)
    other = build(tmp_path / "b.zarr", PLAN.model_copy(update={"seed": 6}), processes=1)
    assert first.digest != other.digest


def test_a_simulated_cycle_has_rain_and_all_channels() -> None:
    samples = simulate_samples(tasks(PLAN, "train")[0])
    assert samples.inputs.shape == (2, 16, WINDOW.ny, WINDOW.nx)
    assert samples.inputs.dtype == samples.rain_mm.dtype == np.float32
    assert np.isfinite(samples.inputs).all()
    assert samples.rain_mm.shape == (2, WINDOW.ny, WINDOW.nx)


def test_the_whole_grid_holds_the_same_cycle_as_the_window() -> None:
    (task, *_), (wide, *_) = tasks(PLAN, "train"), tasks(PLAN, "train", WHOLE_GRID)
    part, whole = simulate_samples(task), simulate_samples(wide)
    assert whole.inputs.shape == (2, 16, 253, 149)
    np.testing.assert_array_equal(whole.inputs[..., *WINDOW.slices], part.inputs)
    np.testing.assert_array_equal(whole.rain_mm[..., *WINDOW.slices], part.rain_mm)
