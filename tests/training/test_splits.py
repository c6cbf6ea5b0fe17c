"""Which samples belong to which split, and how far the splits lie apart."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from service.errors import InputError
from training.splits import SIMULATED, SPLITS, FoldSplits, SpanSplits, Splits, split_rows

PAPER = SpanSplits(
    train=((date(2020, 6, 1), date(2022, 6, 1)),),
    validation=((date(2022, 9, 3), date(2022, 10, 1)),),
    test=((date(2022, 8, 1), date(2022, 8, 29)),),
    months_left_out=(12, 1, 2),
)


def _cycles(first: str, end: str, leads: tuple[int, ...] = (25, 30)) -> tuple[np.ndarray, np.ndarray]:
    times = np.arange(np.datetime64(first, "s"), np.datetime64(end, "s"), np.timedelta64(6, "h"))
    return times.repeat(len(leads)), np.tile(leads, len(times))


def test_the_papers_spans_without_winter() -> None:
    times, leads = _cycles("2020-01-01", "2023-01-01")
    rows = split_rows(PAPER, times, leads)
    train = times[rows["train"]]
    assert (train.min(), train.max()) == (np.datetime64("2020-06-01"), np.datetime64("2022-05-31T18"))
    assert set(train.astype("datetime64[M]").astype(int) % 12 + 1) == {3, 4, 5, 6, 7, 8, 9, 10, 11}
    assert len(rows["test"]) == 28 * 4 * 2
    assert times[rows["validation"]].min() == np.datetime64("2022-09-03")


def test_samples_come_in_the_order_of_time_and_lead_wherever_they_lie() -> None:
    times, leads = _cycles("2022-08-01", "2022-10-01")
    splits = PAPER.model_copy(update={"train": ((date(2022, 9, 25), date(2022, 10, 1)),)})
    splits = splits.model_copy(update={"validation": ((date(2022, 9, 5), date(2022, 9, 10)),)})
    shuffled = np.random.default_rng(0).permutation(len(times))
    plain, mixed = split_rows(splits, times, leads), split_rows(splits, times[shuffled], leads[shuffled])
    for name in SPLITS:
        np.testing.assert_array_equal(shuffled[mixed[name]], plain[name])
        assert np.all(np.diff(plain[name]) > 0)


@pytest.mark.parametrize("first_day", [date(2022, 8, 29), date(2022, 8, 28)])
def test_splits_nearer_than_the_gap_are_refused_by_valid_time(first_day: date) -> None:
    times, leads = _cycles("2021-06-01", "2022-10-01")
    splits = PAPER.model_copy(update={"validation": ((first_day, date(2022, 10, 1)),)})
    with pytest.raises(InputError, match=r"at least 24 h apart.*(test|validation) at 2022-08-"):
        split_rows(splits, times, leads)


def test_the_gap_itself_is_far_enough() -> None:
    # The last valid time of the test is 08-30T00; the first of the validation 24 h later.
    times = np.array(["2022-05-01", "2022-08-28T18", "2022-08-29T18"], "datetime64[s]")
    leads = np.array([25, 30, 30])
    splits = PAPER.model_copy(update={"validation": ((date(2022, 8, 29), date(2022, 10, 1)),)})
    assert [len(split_rows(splits, times, leads)[name]) for name in SPLITS] == [1, 1, 1]
    with pytest.raises(InputError, match="too near"):
        split_rows(splits, times, np.array([25, 30, 29]))


@pytest.mark.parametrize("name", SPLITS)
def test_an_empty_split_is_refused_with_what_there_is(name: str) -> None:
    times, leads = _cycles("2021-06-01", "2022-10-01")
    splits = PAPER.model_copy(update={name: ((date(1999, 1, 1), date(2000, 1, 1)),)})
    with pytest.raises(InputError, match=rf"The {name} split is empty.*2021-06-01T00:00:00 to 2022-09-30"):
        split_rows(splits, times, leads)


def test_no_sample_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="split is empty"):
        split_rows(FoldSplits(folds=3, fold=0), np.empty(0, "datetime64[s]"), np.empty(0, np.int64))


def test_the_simulated_spans_keep_the_default_gap() -> None:
    parts = [_cycles("2012-01-01", "2024-01-01", tuple(range(25, 31)))]
    rows = split_rows(SIMULATED, *parts[0])
    assert [len(rows[name]) for name in SPLITS] == [10 * 122 * 24, 2 * 28 * 24, 2 * 28 * 24]


@given(
    cycles=st.integers(3, 60),
    folds=st.integers(3, 6),
    step_hours=st.sampled_from([6, 24, 36]),
    gap_hours=st.sampled_from([1, 24, 48]),
)
def test_folds_test_every_cycle_once_and_keep_the_gap(
    cycles: int, folds: int, step_hours: int, gap_hours: int
) -> None:
    times = np.datetime64("2020-01-01", "s") + np.arange(cycles) * np.timedelta64(step_hours, "h")
    leads = np.full(cycles, 24)
    tested = []
    for fold in range(folds):
        try:
            rows = split_rows(FoldSplits(folds=folds, fold=fold, gap_hours=gap_hours), times, leads)
        except InputError:
            # Too few cycles for the folds and the gap: an empty split is refused, and only that.
            assert cycles < folds * (2 * gap_hours / step_hours + 1) * 2
            return
        tested.append(rows["test"])
        for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
            apart = np.abs(times[rows[one]][:, None] - times[rows[other]][None])
            assert apart.min() >= np.timedelta64(gap_hours, "h")
        lost = cycles - sum(map(len, rows.values()))
        assert lost <= 3 * 2 * (gap_hours / step_hours)
    np.testing.assert_array_equal(np.concatenate(tested), np.arange(cycles))


def test_the_validation_is_the_next_fold() -> None:
    times = np.datetime64("2020-01-01", "s") + np.arange(10) * np.timedelta64(1, "D")
    rows = split_rows(FoldSplits(folds=5, fold=4), times, np.zeros(10, np.int64))
    assert {name: found.tolist() for name, found in rows.items()} == {
        "test": [8, 9],
        "validation": [0, 1],
        "train": [2, 3, 4, 5, 6, 7],
    }


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"folds": 5, "fold": 5}, "folds count from 0"),
        ({"folds": 2, "fold": 0}, "greater than or equal to 3"),
        ({"folds": 5, "fold": 0, "train": []}, "Extra inputs"),
        (
            {"train": [], "validation": [], "test": []},
            "at least 1",
        ),
        ({"months": [1]}, "Extra inputs"),
    ],
)
def test_tables_that_mean_nothing_are_refused(table: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        TypeAdapter(Splits).validate_python(table)


def test_a_span_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValidationError, match="holds no day"):
        SpanSplits(**dict.fromkeys(SPLITS, ((date(2020, 2, 1), date(2020, 1, 1)),)))
