"""A system from its forecasts to its scores: tuned on one split, counted on the other."""

from pathlib import Path

import numpy as np
import pytest

from service.errors import InputError
from service.specification import Window
from training.counting import AMOUNTS_MM, PROBABILITIES, Observed, critical_success_index
from training.evaluation import Evaluation
from training.forecasts import Forecast, System, class_probabilities, of_amounts, of_classes
from training.neighbourhoods import NEIGHBOURHOODS_CELLS
from training.samples import DataSettings, Split
from training.scoring import HEAVY_CASE, HeavyCase, Subject, decide, evaluate_system, tune


def raw(split: Split) -> Forecast:
    return of_amounts(split.raw_rain_mm())


def probable(split: Split) -> Forecast:
    """Probabilities that rank as the amounts do and are far too small for heavy rain."""
    rain = split.raw_rain_mm()
    return of_classes(class_probabilities(np.stack([rain / (rain + 1), rain / (rain + 50)])))


@pytest.fixture(scope="module")
def scored(dataset: DataSettings) -> dict[str, tuple[Evaluation, HeavyCase]]:
    systems: dict[str, System] = {"raw": raw, "probable": probable}
    return {
        name: evaluate_system(Subject(name, 4, {"a": 1}), system, dataset) for name, system in systems.items()
    }


def test_counts_are_those_of_all_observed_cells(
    dataset: DataSettings, scored: dict[str, tuple[Evaluation, HeavyCase]]
) -> None:
    evaluation, _ = scored["raw"]
    split = Split(dataset, "test")
    rain, observed = split.raw_rain_mm(), split.rain_mm(range(len(split)))
    for at in evaluation.thresholds:
        warning, event = rain >= at.threshold_mm, observed >= at.threshold_mm
        counts = evaluation.counts(at.threshold_mm, "value")
        assert counts is not None
        hits, misses, false_alarms, correct_negatives = counts.sum(axis=(0, 1)).tolist()
        assert hits == int((warning & event).sum())
        assert misses == int((~warning & event).sum())
        assert false_alarms == int((warning & (observed < at.threshold_mm)).sum())
        assert hits + misses + false_alarms + correct_negatives == int((~np.isnan(observed)).sum())
        value = at.decision("value")
        assert value is not None
        assert value.ratios.csi == pytest.approx(hits / (hits + misses + false_alarms))
        assert set(value.ratios.fss) == set(NEIGHBOURHOODS_CELLS)
        assert value.ratios.fss[1] == pytest.approx(value.ratios.f1)


def test_the_level_is_that_of_the_validation_split(
    dataset: DataSettings, scored: dict[str, tuple[Evaluation, HeavyCase]]
) -> None:
    split = Split(dataset, "validation")
    rain, observed = split.raw_rain_mm(), split.rain_mm(range(len(split)))
    for at in scored["raw"][0].thresholds:
        tuned = at.decision("tuned")
        assert tuned is not None
        event = observed >= at.threshold_mm
        csi = []
        for level in AMOUNTS_MM:
            warning = (rain >= np.float32(level)) & ~np.isnan(observed)
            csi.append((warning & event).sum() / (warning | event).sum())
        assert tuned.level == pytest.approx(AMOUNTS_MM[int(np.argmax(csi))])


def test_probabilities_are_calibrated_before_they_are_tuned(
    scored: dict[str, tuple[Evaluation, HeavyCase]],
) -> None:
    """A map of the amounts that keeps their order leaves the tuned decision almost as it was."""
    amounts, probabilities = scored["raw"][0], scored["probable"][0]
    for at, other in zip(amounts.thresholds, probabilities.thresholds, strict=True):
        mine, theirs = at.decision("tuned"), other.decision("tuned")
        assert mine is not None
        assert theirs is not None
        assert theirs.ratios.csi == pytest.approx(mine.ratios.csi, abs=0.03)
        assert other.probability is not None
        assert at.probability is None
        assert other.probability.calibrated.brier < other.probability.as_fitted.brier
    heavy = probabilities.thresholds[1]
    as_fitted, calibrated = heavy.decision("argmax"), heavy.decision("calibrated_argmax")
    assert as_fitted is not None
    assert calibrated is not None
    assert as_fitted.ratios.recall == 0
    assert calibrated.ratios.recall > 0.5
    assert heavy.probability is not None
    train = probabilities.class_shares["train"]
    assert heavy.probability.climatology == pytest.approx(train[2])


def test_a_calibrated_level_calls_what_the_best_level_called(dataset: DataSettings) -> None:
    split = Split(dataset, "validation")
    forecast, observed = probable(split), Observed.of(split)
    for place, (tuning, threshold) in enumerate(zip(tune(forecast, observed), (0.1, 10.0), strict=True)):
        assert tuning.calibration is not None
        mapped = np.interp(forecast.strengths[place], tuning.calibration.knots, tuning.calibration.values)
        event = observed.event(threshold)

        def csi(warning: np.ndarray, event: np.ndarray = event) -> float:
            warning = warning & observed.seen
            counts = [(warning & event).sum(), (~warning & event).sum(), (warning & ~event).sum(), 0]
            return float(critical_success_index(np.array(counts)))

        best = max(csi(forecast.strengths[place] >= np.float32(level)) for level in PROBABILITIES)
        assert csi(mapped.astype(np.float32) >= np.float32(tuning.level)) == pytest.approx(best, abs=2e-3)


def test_an_evaluation_says_what_it_is_of(
    dataset: DataSettings, scored: dict[str, tuple[Evaluation, HeavyCase]]
) -> None:
    evaluation, _ = scored["probable"]
    description = Split(dataset, "test").description
    assert (evaluation.system, evaluation.seed, evaluation.settings) == ("probable", 4, {"a": 1})
    assert evaluation.data_digest == description.digest
    assert evaluation.statistics_digest == description.statistics_digest
    assert evaluation.samples == {"train": 10, "validation": 10, "test": 10}
    assert evaluation.fold is None
    assert len(evaluation.days) == 5
    assert evaluation.seconds > 0


def test_the_validation_split_is_not_scored(dataset: DataSettings) -> None:
    """A system that knows the observations of the validation split alone gains nothing on the test split."""
    asked = []

    def _cheat(split: Split) -> Forecast:
        asked.append(str(split.reference_times[0])[:7])
        known = split.rain_mm(range(len(split)))
        return of_amounts(np.nan_to_num(known) if asked[-1] == "2022-09" else np.zeros_like(known))

    evaluation, _ = evaluate_system(Subject("cheat"), _cheat, dataset)
    assert asked == ["2022-09", "2022-08"]
    tuned = evaluation.thresholds[0].decision("tuned")
    assert tuned is not None
    assert tuned.ratios.csi == 0


def test_only_the_part_asked_for_is_tuned_on_and_scored(dataset: DataSettings) -> None:
    """A forecast that is right there and wrong everywhere else has the scores of a right one."""
    part = Window(y_start=3, x_start=2, ny=11, nx=17)

    def right_inside(split: Split) -> Forecast:
        observed = np.nan_to_num(split.rain_mm(range(len(split))))
        rain = np.where(observed >= 0.1, 0.0, 20.0).astype(np.float32)
        rain[..., *part.slices] = observed[..., *part.slices]
        return of_amounts(rain)

    settings = dataset.model_copy(update={"scored": part})
    evaluation, case = evaluate_system(Subject("right"), right_inside, settings)
    test = Split(dataset, "test")
    seen = np.isfinite(test.rain_mm(range(len(test)))[..., *part.slices])
    assert np.sum(evaluation.cells) == seen.sum()
    for at in evaluation.thresholds:
        value, tuned = at.decision("value"), at.decision("tuned")
        assert value is not None
        assert tuned is not None
        assert value.ratios.csi == value.ratios.fss[5] == 1
        assert tuned.ratios.csi > 0.9
    assert case.observed_mm.shape == (part.ny, part.nx)


def test_folds_are_named(dataset: DataSettings) -> None:
    folds = DataSettings.model_validate({"archive": dataset.archive, "splits": {"folds": 3, "fold": 1}})
    evaluation, _ = evaluate_system(Subject("raw"), raw, folds)
    assert evaluation.fold == 1


def test_the_heavy_case_is_the_sample_with_most_heavy_rain(
    dataset: DataSettings, scored: dict[str, tuple[Evaluation, HeavyCase]], tmp_path: Path
) -> None:
    evaluation, case = scored["raw"]
    split = Split(dataset, "test")
    observed = split.rain_mm(range(len(split)))
    wettest = int((observed >= 10).sum(axis=(1, 2)).argmax())
    np.testing.assert_array_equal(case.observed_mm, observed[wettest])
    np.testing.assert_array_equal(case.strengths[1], split.raw_rain_mm()[wettest])
    np.testing.assert_array_equal(case.untuned[0], case.strengths[0] >= np.float32(0.1))
    tuned = evaluation.thresholds[1].decision("tuned")
    assert tuned is not None
    assert tuned.level is not None
    np.testing.assert_array_equal(case.tuned[1], case.strengths[1] >= np.float32(tuned.level))
    case.write(tmp_path)
    with np.load(tmp_path / HEAVY_CASE) as stored:
        assert stored["reference_time"] == split.reference_times[wettest]
        assert stored["lead_hours"] == split.leads_hours[wettest]
        np.testing.assert_array_equal(stored["tuned"], case.tuned)


def _dry(shape: tuple[int, int, int] = (2, 6, 6)) -> Observed:
    return Observed(np.zeros(shape, np.float32), ("a", "b"), np.arange(2), (25,), np.zeros(2, np.intp))


def test_without_an_event_there_is_nothing_to_tune_on_or_to_score() -> None:
    observed = _dry()
    with pytest.raises(InputError, match=r"No event to tune on.*validation split, threshold 0\.1 mm"):
        tune(of_amounts(observed.rain_mm), observed)
    with pytest.raises(InputError, match=r"No event to score against.*threshold 10 mm"):
        decide("value", 10, observed.rain_mm >= 0, observed, 10)


def test_cells_without_observation_count_nowhere() -> None:
    observed = _dry()
    observed.rain_mm[0, 0] = np.nan
    observed.rain_mm[1, 3, 3] = 20
    decision = decide("value", 10, np.ones((2, 6, 6), bool), observed, 10)
    assert decision.warnings == ((30,), (36,))
    assert decision.hits == ((0,), (1,))
    assert decision.fss_errors[1] == (30, 35)
    assert decision.fss_references[1] == (30, 37)
