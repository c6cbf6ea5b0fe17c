"""The plan of the splits, and writing that goes on after a kill. The simulation is replaced where it is not
what is tested."""

import json
from pathlib import Path

import numpy as np
import pytest

import training.dataset
from service.errors import InputError
from training.dataset import Task, build, reference_times, tasks
from training.domain import LEADS_HOURS, WINDOW
from training.samples import SPLITS, Plan, Split, records

PLAN = Plan(training_cycles=3, evaluation_cycles=1, leads_per_cycle=2, seed=5)


def _fabricated_sample(task: Task) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(task.seed)
    inputs = 300 + 10 * generator.normal(size=(2, 16, WINDOW.ny, WINDOW.nx))
    rain_mm = generator.gamma(0.2, 4, (2, WINDOW.ny, WINDOW.nx)).astype(np.float32)
    if task.slot == 0:
        rain_mm[0] = 0
    return inputs.astype(np.float32), rain_mm


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Replaces the simulation; the list collects what was asked of it."""
    asked: list[Task] = []

    def _sample(task: Task) -> tuple[np.ndarray, np.ndarray]:
        asked.append(task)
        return _fabricated_sample(task)

    monkeypatch.setattr(training.dataset, "simulate_sample", _sample)
    return asked


def test_splits_lie_in_their_months_with_a_gap_between_them() -> None:
    months = {split: reference_times(split).astype("datetime64[M]").astype(int) % 12 + 1 for split in SPLITS}
    assert set(months["train"]) == {6, 7, 8, 9}
    assert set(months["test"]) == {8}
    assert set(months["validation"]) == {9}
    longest = np.timedelta64(max(LEADS_HOURS), "h")
    for year in ("2022", "2023"):
        inside = [
            times[(times >= np.datetime64(year)) & (times < np.datetime64(year) + 1)]
            for times in (reference_times("test"), reference_times("validation"))
        ]
        assert inside[0].max() + longest < inside[1].min()
    assert reference_times("train").max() < np.datetime64("2022-01-01")


def test_tasks_are_reproducible_and_distinct() -> None:
    plan = Plan(training_cycles=50, evaluation_cycles=20, leads_per_cycle=2, seed=5)
    everything = [task for split in SPLITS for task in tasks(plan, split)]
    assert everything == [task for split in SPLITS for task in tasks(plan, split)]
    assert len({task.seed for task in everything}) == 90
    assert len({task.reference_time for task in everything}) == 90
    assert {lead for task in everything for lead in task.leads_hours} == set(LEADS_HOURS)
    assert all(later - earlier == 1 for earlier, later in (task.leads_hours for task in everything))
    assert tasks(plan.model_copy(update={"seed": 6}), "train")[0].seed != everything[0].seed


def test_more_cycles_than_the_period_has_are_refused() -> None:
    with pytest.raises(InputError, match="at most 224"):
        tasks(PLAN.model_copy(update={"evaluation_cycles": 225}), "test")


def test_statistics_come_from_the_wet_training_samples(simulated: list[Task], tmp_path: Path) -> None:
    description = build(tmp_path, PLAN, processes=1)
    assert len(simulated) == 5
    assert description.samples == {"train": 6, "validation": 2, "test": 2}
    assert description.wet_samples == {"train": 5, "validation": 1, "test": 1}
    kept = np.load(tmp_path / "train_inputs.npy")[1:].astype(np.float64)
    for index, statistics in enumerate(description.normalisation.values()):
        assert statistics.mean == pytest.approx(kept[:, index].mean(), rel=1e-9)
        assert statistics.standard_deviation == pytest.approx(kept[:, index].std(), rel=1e-6)
    assert sum(description.class_shares["train"]) == pytest.approx(1)
    fields = Split(tmp_path, "train", wet_only=True).fields(range(5))
    assert np.abs(fields.mean(axis=(0, 2, 3))).max() < 1e-4


def test_samples_are_stored_bit_for_bit(simulated: list[Task], tmp_path: Path) -> None:
    build(tmp_path, PLAN, processes=1)
    split = Split(tmp_path, "train")
    for task in tasks(PLAN, "train"):
        inputs, rain_mm = _fabricated_sample(task)
        np.testing.assert_array_equal(split.physical(2 * task.slot + 1), inputs[1])
        np.testing.assert_array_equal(split.rain_mm([2 * task.slot, 2 * task.slot + 1]), rain_mm)


def test_a_stopped_run_goes_on_and_ends_the_same(simulated: list[Task], tmp_path: Path) -> None:
    whole = build(tmp_path / "whole", PLAN, processes=1)
    build(tmp_path / "parts", PLAN, processes=1)
    (tmp_path / "parts" / "dataset.json").unlink()
    index = tmp_path / "parts" / "train.jsonl"
    lines = index.read_text().splitlines()
    index.write_text(lines[0] + "\n" + lines[2] + "\n" + lines[1][:40])
    (tmp_path / "parts" / "test.jsonl").unlink()
    simulated.clear()
    assert build(tmp_path / "parts", PLAN, processes=1) == whole
    assert [(task.split, task.slot) for task in simulated] == [("train", 1), ("test", 0)]
    assert [json.loads(line)["slot"] for line in index.read_text().splitlines()] == [0, 2, 1]
    assert [record["slot"] for record in records(tmp_path / "parts", "train")] == [0, 1, 2]


def test_a_cycle_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def _broken(task: Task) -> tuple[np.ndarray, np.ndarray]:
        raise InputError("no atmosphere has this")

    monkeypatch.setattr(training.dataset, "simulate_sample", _broken)
    with pytest.raises(InputError, match="no atmosphere") as caught:
        build(tmp_path, PLAN, processes=1)
    assert f"seed={tasks(PLAN, 'train')[0].seed}" in caught.value.__notes__[0]


def test_a_folder_of_another_plan_is_refused(simulated: list[Task], tmp_path: Path) -> None:
    build(tmp_path, PLAN, processes=1)
    with pytest.raises(InputError, match="another plan"):
        build(tmp_path, PLAN.model_copy(update={"seed": 6}), processes=1)


def test_the_digest_follows_the_data(simulated: list[Task], tmp_path: Path) -> None:
    first = build(tmp_path / "a", PLAN, processes=1)
    other = build(tmp_path / "b", PLAN.model_copy(update={"seed": 6}), processes=1)
    assert first.digest != other.digest
