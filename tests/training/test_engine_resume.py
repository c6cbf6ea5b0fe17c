"""Runs that go on unchanged wherever they were stopped, and runs that must not go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from service.errors import InputError
from tests.training.sample_run import (
    SAMPLES,
    SETTINGS,
    Network,
    curve,
    differences,
    noisy_loss,
    objective,
    run_in,
    state_of,
)
from tests.training.sample_settings import changed
from training import engine
from training.engine import CHECKPOINT, CURVES, WEIGHTS, Diverged, Part, Run
from training.order import Indices, batches


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Two would wait for each other at every small layer."""
    engine.prepare(0, 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run ends with that is never stopped."""
    run = run_in(tmp_path_factory.mktemp("whole"))
    run.fit(objective())
    return state_of(run)


@pytest.mark.parametrize("stop", range(1, SETTINGS.updates))
def test_a_run_stopped_at_any_update_ends_as_if_it_had_not_been(
    whole: dict[str, Any], tmp_path: Path, stop: int
) -> None:
    """At, before and between validations (3, 6) and other checkpoints (2, 4)."""
    stopped = run_in(tmp_path)
    stopped.fit(objective(), last_update=stop)
    assert stopped.update == stop
    torch.manual_seed(99)
    resumed = run_in(tmp_path)
    resumed.fit(objective())
    assert differences(state_of(resumed), whole) == []


def test_a_run_stopped_at_every_update_ends_as_if_it_had_not_been(
    whole: dict[str, Any], tmp_path: Path
) -> None:
    for stop in range(1, SETTINGS.updates + 1):
        run = run_in(tmp_path)
        assert run.update == stop - 1
        run.fit(objective(), last_update=stop)
    assert differences(state_of(run), whole) == []


class _Killed(BaseException):
    """In the place of a kill."""


@pytest.mark.parametrize("number", range(12))
def test_a_kill_at_any_file_leaves_a_run_that_ends_the_same(
    whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Of the twelve files that a run puts in their place, so many are there and the next lies beside it."""
    replace, replaced = Path.replace, list[Path]()

    def _replace(self: Path, target: Path) -> Path:
        if len(replaced) == number:
            raise _Killed
        replaced.append(target)
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", _replace)
        with pytest.raises(_Killed):
            run_in(tmp_path).fit(objective())
    run = run_in(tmp_path)
    run.fit(objective())
    assert differences(state_of(run), whole) == []
    assert curve(tmp_path, "update") == [3, 6, 8]


def test_a_resumed_run_remembers_the_best_validation(tmp_path: Path) -> None:
    losses = iter([2.0, 3.0, 4.0])
    worsening = objective(validate=lambda network: {"loss": next(losses)})
    run_in(tmp_path).fit(worsening, last_update=3)
    best = (tmp_path / WEIGHTS).read_bytes()
    resumed = run_in(tmp_path)
    resumed.fit(worsening)
    assert (resumed.update, resumed.best_loss) == (8, 2.0)
    assert (tmp_path / WEIGHTS).read_bytes() == best


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    run_in(tmp_path).fit(objective())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run_in(tmp_path).fit(objective())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert sorted(before) == [CHECKPOINT, CURVES, WEIGHTS]


@pytest.mark.parametrize(
    ("factor", "named"),
    [
        (math.nan, "The loss is not finite"),
        (math.inf, "The loss is not finite"),
        (1e38, "The gradient is not finite"),
    ],
)
def test_a_loss_or_gradient_that_is_not_finite_stops_and_overwrites_nothing(
    tmp_path: Path, factor: float, named: str
) -> None:
    """Update 5 of 8, two after the last checkpoint at the validation of update 3."""
    settings = changed(SETTINGS, checkpoint_every=100)
    broken = [indices.tolist() for indices in batches(SAMPLES, 4, 3, 0, 8)][4]

    def _broken(network: nn.Module, indices: Indices, generator: torch.Generator) -> Sequence[Part]:
        part, noise = noisy_loss(network, indices, generator)
        if indices.tolist() == broken:
            # A small loss with a large slope: the root of a number near zero.
            steep = (part.total - part.total.detach() + 1e-30).sqrt() if factor == 1e38 else part.total
            part = Part(steep * factor, part.count)
        return [part, noise]

    run = run_in(tmp_path, settings)
    run.fit(objective(), last_update=3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(Diverged, match=named) as caught:
        run_in(tmp_path, settings).fit(objective(loss=_broken))
    assert caught.match(f"update 5, samples \\[{', '.join(map(str, broken))}\\]")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_validation_that_is_not_finite_stops(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="validation is not finite; where: update 3"):
        run_in(tmp_path).fit(objective(validate=lambda network: {"loss": math.nan}))
    assert not (tmp_path / WEIGHTS).exists()


@pytest.mark.parametrize("other", [Network(width=4), nn.Conv2d(3, 1, 1)])
def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path, other: nn.Module) -> None:
    run_in(tmp_path).fit(objective(), last_update=2)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(InputError, match="another architecture") as caught:
        Run(tmp_path, other, SETTINGS, seed=3)
    assert caught.match(CHECKPOINT)
    assert caught.match(r"encoder\.0\.weight")
    assert caught.match("choose another folder")
    assert (tmp_path / CHECKPOINT).read_bytes() == before
