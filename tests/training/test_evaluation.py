"""The file of scores: its sums give the counts, and what does not fit together is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from service.errors import InputError
from tests.training.sample_evaluations import CELLS, evaluation
from training.evaluation import SCORES, Evaluation, read_evaluation

ONE = evaluation({"value": [(5, 12), (0, 0), (20, 20)]})


def test_counts_follow_from_hits_warnings_events_and_cells() -> None:
    counts = ONE.counts(0.1, "value")
    assert counts is not None
    assert counts.shape == (3, 2, 4)
    assert counts[:, 0].tolist() == [[5, 15, 7, 73], [0, 20, 0, 80], [20, 0, 0, 80]]
    assert np.array_equal(counts[:, 0], counts[:, 1])
    assert (counts.sum(axis=-1) == CELLS).all()


def test_what_was_not_decided_has_no_counts() -> None:
    assert ONE.counts(0.1, "tuned") is None
    assert ONE.counts(1.0, "value") is None


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = ONE.write(tmp_path / "new" / "run")
    assert path == tmp_path / "new" / "run" / SCORES
    assert read_evaluation(tmp_path / "new" / "run") == ONE
    assert [file.name for file in path.parent.iterdir()] == [SCORES]
    ONE.write(tmp_path, "scores-flip.json")
    assert read_evaluation(tmp_path, "scores-flip.json") == ONE


@pytest.mark.parametrize(
    ("at", "name"),
    [
        (("cells",), "cells"),
        (("thresholds", 1, "events"), "events at 10 mm"),
        (("thresholds", 0, "decisions", 0, "hits"), "hits of value at 0.1 mm"),
        (("thresholds", 0, "decisions", 0, "warnings"), "warnings of value at 0.1 mm"),
    ],
)
def test_a_table_of_another_shape_is_refused(at: tuple[str | int, ...], name: str) -> None:
    content = ONE.model_dump(mode="json")
    part: Any = content
    for key in at[:-1]:
        part = part[key]
    part[at[-1]] = part[at[-1]][1:]
    with pytest.raises(ValidationError, match=rf"{name} has the shape \(2, 2\), not \(3, 2\)"):
        Evaluation.model_validate(content)


def test_missing_scores_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no scores.*training\.evaluate or training.baseline"):
        read_evaluation(tmp_path)


def test_scores_of_another_form_are_refused(tmp_path: Path) -> None:
    (tmp_path / SCORES).write_text('{"rows": []}')
    with pytest.raises(InputError, match=r"another form.*score the run again"):
        read_evaluation(tmp_path)
