"""The page of results: numbers of the scores that lie in the runs, and no number for what was not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import InputError
from training import report
from training.evaluation import SCORES, Evaluation, read_evaluation
from training.forecasts import of_amounts
from training.result_tables import NOT_RUN
from training.results import read_results
from training.samples import DataSettings
from training.scoring import Subject, evaluate_system


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: DataSettings) -> Path:
    """The folder of runs; everything is read from and written to a folder of the test."""
    monkeypatch.setattr(report, "RUNS", tmp_path / "runs")
    for name in ("RESULTS", "REAL_RESULTS", "PAGE", "PICTURES"):
        monkeypatch.setattr(report, name, tmp_path / getattr(report, name).name)
    monkeypatch.setattr(report, "ARCHIVE", tmp_path / "none.zarr")
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def raw(dataset: DataSettings) -> Evaluation:
    """Of the raw forecast of the fabricated archive."""
    evaluation, _ = evaluate_system(Subject("raw"), lambda split: of_amounts(split.raw_rain_mm()), dataset)
    return evaluation


def test_the_page_has_the_scores_of_the_runs_and_nothing_else(runs: Path, raw: Evaluation) -> None:
    raw.write(runs / "experiment" / "raw")
    made = report.write()
    at = raw.at(10.0)
    assert at is not None
    decision = at.decision("value")
    assert decision is not None
    page = report.PAGE.read_text()
    (line,) = [
        line for line in page.splitlines() if line.startswith("| raw RDAPS-KIM | untuned") and "0.062" in line
    ]
    assert f"| {decision.ratios.csi:.3f} [" in line
    assert f"| InternImage + p* | {NOT_RUN} |" in page
    assert raw.data_digest[:16] in page
    assert "$" not in page
    assert {path.name for path in made} >= {"RESULTS.md", "scores_by_lead.png"}
    assert all(path.exists() for path in made)


def test_scores_stay_when_the_runs_are_gone(runs: Path, raw: Evaluation) -> None:
    path = raw.write(runs / "experiment" / "raw")
    report.write()
    page = report.PAGE.read_text()
    path.unlink()
    report.write()
    assert report.PAGE.read_text() == page


def test_a_new_run_takes_the_place_of_the_old_one(runs: Path, raw: Evaluation) -> None:
    folder = runs / "experiment" / "raw"
    raw.write(folder)
    report.write()
    raw.model_copy(update={"machine": "another"}).write(folder)
    report.write()
    (result,) = read_results(report.RESULTS)
    assert result.evaluation.machine == "another"


def test_what_was_averaged_at_inference_is_a_row_of_its_own(runs: Path, raw: Evaluation) -> None:
    for name in (SCORES, "scores-flip.json", "scores-masks-8.json"):
        raw.write(runs / "experiment" / "ours" / "seed_1", name)
    raw.write(runs / "experiment" / "ceiling" / "bound")
    results = report.gather("experiment", report.RESULTS)
    assert set(results.rows) == {"ours", "ours_flip", "ours_masks", "ceiling_bound"}


def test_data_simulated_again_may_differ_in_its_digest_but_not_in_its_observations(
    runs: Path, raw: Evaluation
) -> None:
    raw.write(runs / "experiment" / "raw")
    again = raw.model_copy(update={"data_digest": "f" * 64})
    again.write(runs / "experiment" / "smoothed")
    assert set(report.gather("experiment", report.RESULTS).rows) == {"raw", "smoothed"}
    again.model_copy(update={"days": ("1999-01-01", *raw.days[1:])}).write(runs / "experiment" / "smoothed")
    with pytest.raises(InputError, match=r"other observations.*'smoothed'"):
        report.gather("experiment", report.RESULTS)


def test_every_fold_has_its_own_observations(runs: Path, raw: Evaluation) -> None:
    first = raw.model_copy(update={"fold": 0})
    second = raw.model_copy(update={"fold": 1, "days": ("1999-01-01", *raw.days[1:])})
    first.write(runs / "real" / "raw" / "fold_0")
    second.write(runs / "real" / "raw" / "fold_1")
    assert report.gather("real", report.REAL_RESULTS).rows == ("raw",)
    second.model_copy(update={"days": raw.days}).write(runs / "real" / "smoothed" / "fold_1")
    with pytest.raises(InputError, match=r"other observations.*'smoothed'"):
        report.gather("real", report.REAL_RESULTS)


def test_without_any_score_there_is_no_page(runs: Path) -> None:
    with pytest.raises(InputError, match="Nothing was scored"):
        report.write()
    assert not report.PAGE.exists()


def test_what_is_read_back_is_what_was_written(raw: Evaluation, tmp_path: Path) -> None:
    raw.write(tmp_path)
    assert read_evaluation(tmp_path) == raw
