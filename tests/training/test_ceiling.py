"""The ceiling: counted once, of the right cycles, scored as any system, without the bias of few members."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

import training.ceiling
from service.channels import THRESHOLDS_MM
from service.errors import InputError
from training import convection, simulate
from training.archive_store import Archive
from training.ceiling import (
    BLOCKS,
    Ceiling,
    Job,
    ceiling,
    count,
    count_cycle,
    cycle_path,
    jobs,
    limits,
    main,
    reached,
    system,
    table,
)
from training.dataset import Plan, build
from training.evaluation import read_evaluation
from training.oracle import ORACLES, Hour
from training.samples import DataSettings, Split
from training.simulate import draw_cycle

PLAN = Plan(training_cycles=1, evaluation_cycles=2, leads_per_cycle=1, seed=5)
"""With heavy rain in all splits, even without cells."""

MEMBERS = BLOCKS


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated, not to be changed."""
    path = tmp_path_factory.mktemp("simulated") / "archive.zarr"
    build(path, PLAN, processes=1)
    return path


@pytest.fixture(scope="module")
def counted(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The members of the archive, not to be changed."""
    folder = tmp_path_factory.mktemp("ceiling")
    count(archive, MEMBERS, folder)
    return folder


def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def stored(archive: Path, name: str) -> Any:
    """An array of the archive, to be changed."""
    return zarr.open_group(archive, mode="r+")[name]


def test_counts_are_those_of_the_members(archive: Path, counted: Path) -> None:
    split = Split(DataSettings(archive=archive), "test")
    (job,) = [job for job in jobs(Archive(archive), "test") if job.rows[0] == 3]
    task = job.task
    draw = draw_cycle(task.seed, task.reference_time, task.leads_hours)
    there = Hour(draw, task.reference_time, task.leads_hours[0], task.seed)
    sample = split.reference_times.tolist().index(task.reference_time.item())
    assert (split.rain_mm([sample]) >= 0.1).any()
    for place, oracle in enumerate(ORACLES):
        counts = reached(counted, split, oracle)
        assert counts.shape == (BLOCKS, len(THRESHOLDS_MM), len(split), 224, 128)
        for block in range(BLOCKS):
            rain = there.member(block)[place]
            for index, threshold in enumerate(THRESHOLDS_MM):
                np.testing.assert_array_equal(counts[block, index, sample], rain >= threshold)


def test_probabilities_are_shares_of_members_and_never_certain(archive: Path, counted: Path) -> None:
    split = Split(DataSettings(archive=archive), "test")
    forecast = system(counted, "bound", MEMBERS)(split)
    numbers = reached(counted, split, "bound").sum(axis=0)
    shares = split.description.class_shares["train"]
    for index, frequency in enumerate((shares[1] + shares[2], shares[2])):
        expected = (numbers[index] + frequency) / (MEMBERS + 1)
        np.testing.assert_allclose(forecast.strengths[index], expected, rtol=1e-5)
    assert 0 < forecast.strengths.min() < forecast.strengths.max() < 1
    assert (forecast.strengths[0] >= forecast.strengths[1]).all()
    assert forecast.probabilistic
    # Of four members three rain: rain is the likeliest class, whichever of the two.
    np.testing.assert_array_equal(forecast.untuned[0], numbers[0] >= 3)


def test_a_stopped_run_goes_on_with_what_is_missing(
    archive: Path, counted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(counted, tmp_path)
    (missing,) = (job for job in jobs(Archive(archive), "validation") if job.rows[0] == 1)
    path = cycle_path(folder, missing.task.reference_time)
    path.unlink()
    path.with_suffix(".part").write_bytes(b"half of a fi")
    asked: list[Job] = []

    def _counting(archive_path: Path, members: int, where: Path, job: Job) -> int:
        asked.append(job)
        return count_cycle(archive_path, members, where, job)

    monkeypatch.setattr(training.ceiling, "count_cycle", _counting)
    count(archive, MEMBERS, folder)
    assert asked == [missing]
    with np.load(path) as new, np.load(cycle_path(counted, missing.task.reference_time)) as old:
        np.testing.assert_array_equal(new["counts"], old["counts"])
    assert not list(folder.rglob("*.part"))


def test_rain_of_another_cycle_is_refused(archive: Path, tmp_path: Path) -> None:
    other = copied(archive, tmp_path)
    rain = stored(other, "rain_mm")
    changed = rain[3]
    changed[100, 60] += 0.01
    rain[3] = changed
    with pytest.raises(InputError, match=r"does not give the rain of the archive again.*0\.01 mm"):
        count(other, MEMBERS, tmp_path / "out")


def test_rain_that_is_not_a_number_is_refused(archive: Path, tmp_path: Path) -> None:
    other = copied(archive, tmp_path)
    rain = stored(other, "rain_mm")
    rain[1] = np.full(rain.shape[1:], np.nan, np.float32)
    with pytest.raises(InputError, match="does not give the rain of the archive again"):
        count(other, MEMBERS, tmp_path / "out")


def test_an_archive_that_was_not_simulated_is_refused(dataset: DataSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no plan of a simulation"):
        count(dataset.archive, MEMBERS, tmp_path)


def test_an_archive_without_a_sample_of_its_plan_is_refused(archive: Path, tmp_path: Path) -> None:
    other = copied(archive, tmp_path)
    leads = stored(other, "lead_hours")
    leads[3] = 99
    with pytest.raises(InputError, match="lacks a sample of its plan"):
        jobs(Archive(other), "test")


@pytest.mark.parametrize("members", [0, 2, 6, BLOCKS * 256])
def test_members_that_do_not_divide_or_do_not_fit_are_refused(
    archive: Path, tmp_path: Path, members: int
) -> None:
    with pytest.raises(InputError, match="Wrong number of members"):
        count(archive, members, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_members_is_refused(archive: Path, counted: Path) -> None:
    with pytest.raises(InputError, match="The folder holds other members"):
        count(archive, 2 * MEMBERS, counted)


def test_a_sample_without_members_is_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"A sample has no members.*2022|2023"):
        reached(tmp_path, Split(DataSettings(archive=archive), "test"), "bound")


def test_where_the_forecast_fixes_the_rain_the_bound_is_perfect(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command on a nature without cells whose waves the state knows all."""
    monkeypatch.setattr(simulate, "STATE_COHERENT_ABOVE_KM", 0.0)
    monkeypatch.setattr(convection, "CELL_BIRTHS_PER_HOUR", 0)
    build(tmp_path / "certain.zarr", PLAN, processes=1)
    out = tmp_path / "out"
    arguments = ["--data", str(tmp_path / "certain.zarr"), "--members", str(MEMBERS), "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["ceiling", *arguments])
    main()
    result = Ceiling.model_validate_json((out / "ceiling.json").read_text())
    assert capsys.readouterr().out.strip() == table(result)
    by_oracle = {oracle: [limit for limit in result.limits if limit.oracle == oracle] for oracle in ORACLES}
    assert [limit.threshold_mm for limit in by_oracle["bound"]] == list(THRESHOLDS_MM)
    for limit in by_oracle["bound"]:
        assert limit.csi == pytest.approx((1.0, 1.0, 1.0), abs=0.002)
        assert limit.brier_limit == pytest.approx(0.0, abs=1e-5)
    for limit in by_oracle["estimate"]:
        assert 0.1 < limit.csi[-1] < 0.95
    assert read_evaluation(out).settings == {"oracle": "bound", "members": MEMBERS}
    bound, estimate = (read_evaluation(out, f"scores{end}.json") for end in ("", "-estimate"))
    for threshold in THRESHOLDS_MM:
        (at_bound, at_estimate) = (scored.at(threshold) for scored in (bound, estimate))
        assert at_bound is not None
        assert at_estimate is not None
        tuned = at_bound.decision("tuned")
        assert tuned is not None
        assert tuned.ratios.csi == pytest.approx(1.0, abs=0.002)
        assert at_bound.probability is not None
        assert at_estimate.probability is not None
        assert at_bound.probability.as_fitted.brier < at_estimate.probability.as_fitted.brier
    assert json.loads((out / "members.json").read_text())["members"] == MEMBERS
    assert {path.name for path in out.glob("*.npz")} == {"heavy_case.npz", "heavy_case-estimate.npz"}


def _observed(split: str, probability: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rain of 20 mm where an event of this probability happened."""
    random = np.random.default_rng([len(split), 3])
    return np.where(random.uniform(size=probability.shape) < probability, 20.0, 0.0).astype(np.float32)


class _Rain:
    """Enough of a split for the limits."""

    def __init__(self, name: str, rain_mm: NDArray[np.float32]) -> None:
        self.name, self._rain_mm = name, rain_mm

    def __len__(self) -> int:
        return len(self._rain_mm)

    def rain_mm(self, indices: NDArray[np.intp]) -> NDArray[np.float32]:
        return self._rain_mm[indices]


def test_limits_are_the_scores_of_the_exact_probabilities(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Members drawn with known probabilities: what more members bring is foreseen from few."""
    members = 32
    random = np.random.default_rng(0)
    probability = random.beta(0.15, 1.0, (60, 40, 40))
    rain = {name: _observed(name, probability) for name in ("validation", "test")}
    draws = {
        name: random.binomial(members // BLOCKS, probability, (BLOCKS, 1, *probability.shape))
        for name in rain
    }
    monkeypatch.setattr(
        training.ceiling,
        "reached",
        lambda _folder, split, _oracle: np.repeat(draws[split.name], 2, axis=1).astype(np.uint8),
    )
    splits = [_Rain(name, rain[name]) for name in rain]
    found = list(limits(tmp_path, "bound", members, *splits))  # type: ignore[arg-type]
    event = rain["test"] >= 0.1
    levels = np.linspace(0.05, 0.95, 91)
    exact = max(((probability >= t) & event).sum() / ((probability >= t) | event).sum() for t in levels)
    brier = ((probability - event) ** 2).mean()
    for limit in found:
        assert limit.members == (8, 16, 32)
        assert list(limit.csi) == sorted(limit.csi)
        assert exact - limit.csi[0] > 0.02
        assert abs(limit.csi_limit - exact) < 0.3 * (exact - limit.csi[-1]) + 0.002
        assert limit.brier_limit == pytest.approx(brier, rel=0.01)
        share = draws["test"][:, 0].sum(axis=0) / members
        assert ((share - event) ** 2).mean() > 1.02 * brier


def test_the_ceiling_is_made_from_settings(archive: Path, counted: Path, tmp_path: Path) -> None:
    folder = copied(counted, tmp_path)
    result = ceiling(DataSettings(archive=archive), MEMBERS, folder)
    assert result.data_digest == Archive(archive).digest
    assert [limit.oracle for limit in result.limits] == ["bound", "bound", "estimate", "estimate"]
    assert all(0 < csi < 1 for limit in result.limits for csi in limit.csi)
