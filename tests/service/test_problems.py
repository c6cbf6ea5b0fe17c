"""Every error of the tree as a problem document."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.errors import MissingChannel, RainpostError
from service.problems import problem_of


def tree(root: type[RainpostError]) -> Iterator[type[RainpostError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def test_a_problem_says_what_where_expected_and_got() -> None:
    error = MissingChannel(
        "a channel is missing", where="lead 3", expected="temperature_2m", got="nothing", advice="send it"
    )
    assert problem_of(error, "/jobs/1").model_dump(exclude_defaults=True) == {
        "type": "urn:rainpost:problem:missing-channel",
        "title": "A channel absent from a lead that is otherwise there",
        "status": 422,
        "detail": "a channel is missing",
        "instance": "/jobs/1",
        "reason": "missing-channel",
        "where": "lead 3",
        "expected": "temperature_2m",
        "got": "nothing",
        "advice": "send it",
    }


@pytest.mark.parametrize("kind", list(tree(RainpostError)))
def test_every_error_has_a_title_and_an_http_status(kind: type[RainpostError]) -> None:
    problem = problem_of(kind("it happened"))
    assert problem.title
    assert 400 <= problem.status < 600


def test_reasons_are_unique() -> None:
    reasons = [kind.reason for kind in tree(RainpostError)]
    assert len(set(reasons)) == len(reasons)
