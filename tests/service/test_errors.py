"""The error tree: one reason each, drawn as it is, whole after a trip between processes."""

from __future__ import annotations

import pickle
import re

import pytest

from service import errors
from service.errors import MissingChannel, RainpostError


def _tree(root: type[RainpostError]) -> list[type[RainpostError]]:
    """The classes of the module; training adds its own, which no drawing of the service shows."""
    children = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    return [root, *(kind for child in children for kind in _tree(child))]


def test_every_error_has_a_reason_of_its_own() -> None:
    reasons = [kind.reason for kind in _tree(RainpostError)]
    assert len(reasons) > 15
    assert len(reasons) == len(set(reasons))


def test_the_drawing_is_the_tree() -> None:
    drawn = dict(re.findall(r"── (\w+) +([a-z-]+) ", errors.__doc__ or ""))
    assert drawn == {kind.__name__: kind.reason for kind in _tree(RainpostError)[1:]}


@pytest.mark.parametrize("kind", _tree(RainpostError))
def test_survives_the_way_between_processes(kind: type[RainpostError]) -> None:
    error = kind("what", where="here", expected="this", got="that", advice="do so")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_the_message_says_it_all() -> None:
    error = MissingChannel(
        "no humidity", where="lead 25 h", expected="850 hPa", got="500 hPa", advice="add it"
    )
    assert str(error) == "no humidity; where: lead 25 h; expected: 850 hPa; got: 500 hPa; add it"
    assert str(RainpostError("no more")) == "no more"
