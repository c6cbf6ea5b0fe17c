"""Schedule, batches, averaged weights, rates by part of the network, and curves."""

from __future__ import annotations

import csv
import math
import subprocess
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from service.errors import InputError
from tests.training.sample_run import (
    FIELDS,
    SAMPLES,
    SETTINGS,
    TARGETS,
    curve,
    noisy_loss,
    objective,
    run_in,
    squared,
)
from tests.training.sample_settings import changed
from training import engine
from training.engine import CURVES, WEIGHTS, Part, code_commit
from training.order import Indices, batches


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Two would wait for each other at every small layer."""
    engine.prepare(0, 1)


def test_rate_grows_then_follows_a_cosine_to_zero() -> None:
    settings = changed(SETTINGS, updates=20, warmup_updates=4, learning_rate=0.5)
    rates = [settings.rate(update) for update in range(21)]
    assert rates[:5] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])
    assert rates[12] == pytest.approx(0.25)
    assert rates[20] == pytest.approx(0, abs=1e-12)
    assert all(later < earlier for earlier, later in pairwise(rates[4:]))


def test_constant_rate_stays_after_the_warmup() -> None:
    settings = changed(SETTINGS, schedule="constant", warmup_updates=3, learning_rate=0.3)
    assert [settings.rate(update) for update in range(8)] == pytest.approx([0.1, 0.2, *[0.3] * 6])


def test_the_base_rate_of_masked_autoencoders_grows_with_the_batch() -> None:
    """Table 3 of the paper: 1.6e-3 for 256, so 4e-4 for its batch of 64."""
    settings = changed(
        SETTINGS, schedule="constant", warmup_updates=0, batch=64, learning_rate=1.6e-3, reference_batch=256
    )
    assert settings.rate(0) == pytest.approx(4e-4)
    assert changed(settings, reference_batch=None).rate(0) == pytest.approx(1.6e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("updates", 0),
        ("batch", 0),
        ("learning_rate", math.nan),
        ("average_decay", 1.0),
        ("betas", (0.9, 1.0)),
        ("gradient_clip", 0.0),
        ("schedule", "step"),
        ("epochs", 3),
    ],
)
def test_impossible_settings_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        changed(SETTINGS, **{name: value})


def test_curves_hold_every_validation(tmp_path: Path) -> None:
    losses: list[float] = []

    def _recorded(network: nn.Module, indices: Indices, generator: torch.Generator) -> Sequence[Part]:
        parts = noisy_loss(network, indices, generator)
        losses.append(sum((part.total / part.count).item() for part in parts))
        return parts

    run = run_in(tmp_path)
    run.fit(objective(loss=_recorded))
    with (tmp_path / CURVES).open(newline="") as file:
        assert next(csv.reader(file)) == [
            "update",
            "training_loss",
            "learning_rate",
            "samples_per_second",
            "waiting_share",
            "validation_loss",
            "validation_bias",
        ]
    assert curve(tmp_path, "update") == [3, 6, 8]
    means = [np.mean(losses[:3]), np.mean(losses[3:6]), np.mean(losses[6:])]
    assert curve(tmp_path, "training_loss") == pytest.approx(means)
    assert curve(tmp_path, "learning_rate") == [SETTINGS.rate(update - 1) for update in (3, 6, 8)]
    assert curve(tmp_path, "validation_loss") == [row["validation_loss"] for row in run.rows]
    assert all(rate > 0 for rate in curve(tmp_path, "samples_per_second"))
    assert all(0 <= share <= 1 for share in curve(tmp_path, "waiting_share"))


def test_the_best_validation_is_kept_and_it_is_that_of_the_averaged_weights(tmp_path: Path) -> None:
    validated: list[dict[str, Tensor]] = []
    losses = iter([2.0, 1.0, 3.0])

    def _validate(network: nn.Module) -> dict[str, float]:
        assert not network.training
        assert not torch.is_grad_enabled()
        validated.append({name: value.clone() for name, value in network.state_dict().items()})
        return {"loss": next(losses)}

    run = run_in(tmp_path)
    run.fit(objective(validate=_validate))
    saved = torch.load(tmp_path / WEIGHTS)
    assert all(torch.equal(value, validated[1][name]) for name, value in saved.items())
    assert not torch.equal(validated[1]["decoder.weight"], validated[2]["decoder.weight"])
    assert torch.equal(run.average.get_parameter("decoder.weight"), validated[2]["decoder.weight"])
    assert not torch.equal(run.average.get_parameter("decoder.weight"), run.network.decoder.weight)


def test_the_average_follows_its_formula(tmp_path: Path) -> None:
    """Faster at the start: the decay of update n is at most (2 + n) / (11 + n)."""
    seen: list[Tensor] = []

    def _recorded(network: nn.Module, indices: Indices, generator: torch.Generator) -> Sequence[Part]:
        seen.append(network.get_parameter("decoder.weight").detach().clone())
        return noisy_loss(network, indices, generator)

    run = run_in(tmp_path, changed(SETTINGS, updates=12, average_decay=0.5))
    run.fit(objective(loss=_recorded))
    seen.append(run.network.get_parameter("decoder.weight").detach().clone())
    average = seen[0]
    for update, fitted in enumerate(seen[1:]):
        decay = min(0.5, (2 + update) / (11 + update))
        average = decay * average + (1 - decay) * fitted
    torch.testing.assert_close(run.average.get_parameter("decoder.weight").detach(), average)
    buffers = dict(run.network.named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in run.average.named_buffers())


def test_without_a_decay_the_average_is_the_fitted_weights(tmp_path: Path) -> None:
    run = run_in(tmp_path, changed(SETTINGS, average_decay=0.0))
    run.fit(objective())
    fitted = run.network.state_dict()
    assert all(torch.equal(value, fitted[name]) for name, value in run.average.state_dict().items())


def test_gradients_are_clipped_all_together_and_only_where_too_large(tmp_path: Path) -> None:
    norms = {}
    for name, limit in (("none", None), ("loose", 1e6), ("tight", 1e-3)):
        run = run_in(tmp_path / name, changed(SETTINGS, updates=1, gradient_clip=limit))
        run.fit(objective())
        gradients = [parameter.grad for parameter in run.network.parameters()]
        norms[name] = torch.cat([g.flatten() for g in gradients if g is not None]).norm().item()
    assert norms["none"] > 1
    assert norms["loose"] == norms["none"]
    assert norms["tight"] == pytest.approx(1e-3, rel=1e-3)


def test_a_factor_of_zero_keeps_parameters_and_buffers_and_switches_chance_off(tmp_path: Path) -> None:
    modes = set()

    def _recorded(network: nn.Module, indices: Indices, generator: torch.Generator) -> Sequence[Part]:
        encoder = network.get_submodule("encoder")
        modes.add((network.training, any(part.training for part in encoder.modules())))
        return noisy_loss(network, indices, generator)

    run = run_in(tmp_path, encoder=0.0)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.fit(objective(loss=_recorded))
    assert modes == {(True, False)}
    for state in (run.network.state_dict(), run.average.state_dict(), torch.load(tmp_path / WEIGHTS)):
        same = {name for name, value in state.items() if torch.equal(value, before[name])}
        assert same == {name for name in before if name.startswith("encoder.")}


def test_a_factor_scales_the_rate_of_what_it_names(tmp_path: Path) -> None:
    """AdamW's first step is the rate in every parameter, whatever the gradient."""
    settings = changed(SETTINGS, updates=1, schedule="constant", warmup_updates=0, weight_decay=0.0)
    run = run_in(tmp_path, settings, encoder=0.5)
    weights = [name for name, _ in run.network.named_parameters() if name.endswith("weight")]
    before = {name: run.network.get_parameter(name).detach().clone() for name in weights}
    run.fit(objective())
    for name in weights:
        step = (run.network.get_parameter(name) - before[name]).abs().max().item()
        assert step == pytest.approx(0.025 if name.startswith("encoder.") else 0.05, rel=1e-3), name


def test_chance_follows_from_the_seed_and_the_update_alone(tmp_path: Path) -> None:
    drawn: list[int] = []

    def _recorded(network: nn.Module, indices: Indices, generator: torch.Generator) -> Sequence[Part]:
        drawn.append(int(torch.randint(2**31, (), generator=generator)))
        return noisy_loss(network, indices, generator)

    for name in ("one", "other"):
        run_in(tmp_path / name).fit(objective(loss=_recorded))
    first, second = drawn[: SETTINGS.updates], drawn[SETTINGS.updates :]
    assert first == second
    assert len(set(first)) == SETTINGS.updates


def test_bfloat16_computes_in_it_and_fits_in_float32(tmp_path: Path) -> None:
    dtypes = set()

    def _recorded(network: nn.Module, indices: Indices, generator: torch.Generator) -> Sequence[Part]:
        outputs = network(FIELDS[indices])
        dtypes.add(outputs.dtype)
        errors = (outputs.float() - TARGETS[indices]) ** 2
        return [Part(errors.sum(), torch.tensor(errors.numel()))]

    losses = {}
    for precision in ("float32", "bfloat16"):
        run = run_in(tmp_path / precision, changed(SETTINGS, precision=precision, learning_rate=1e-3))
        run.fit(objective(loss=_recorded))
        assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}
        losses[precision] = [row["training_loss"] for row in run.rows]
    assert dtypes == {torch.float32, torch.bfloat16}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"] != losses["float32"]


def test_the_next_batch_is_read_while_one_is_worked_on(tmp_path: Path) -> None:
    """The loss of the first update waits until the second batch is being read, in another thread."""
    reading, threads = threading.Semaphore(0), set()

    def _read(indices: Indices) -> Indices:
        threads.add(threading.get_ident())
        reading.release()
        return indices

    overlapped: list[bool] = []

    def _waiting(network: nn.Module, indices: Indices, generator: torch.Generator) -> Sequence[Part]:
        if not overlapped:
            overlapped.append(all(reading.acquire(timeout=30) for _ in range(2)))
        return noisy_loss(network, indices, generator)

    run_in(tmp_path).fit(objective(read=_read, loss=_waiting))
    assert overlapped == [True]
    assert threads
    assert threading.get_ident() not in threads


def test_every_batch_reaches_its_own_update(tmp_path: Path) -> None:
    worked: list[list[int]] = []

    def _recorded(network: nn.Module, indices: Indices, generator: torch.Generator) -> Sequence[Part]:
        worked.append(indices.tolist())
        return noisy_loss(network, indices, generator)

    run_in(tmp_path).fit(objective(loss=_recorded))
    assert worked == [indices.tolist() for indices in batches(SAMPLES, 4, 3, 0, 8)]


def test_an_update_without_any_observed_cell_changes_no_weight(tmp_path: Path) -> None:
    """A crop may lie where nothing was observed; the mean over no cell is not a NaN."""

    def _of_nothing(network: nn.Module, indices: Indices, _generator: torch.Generator) -> Sequence[Part]:
        part = squared(network, indices)
        return [Part(0 * part.total, torch.tensor(0))]

    run = run_in(tmp_path, changed(SETTINGS, weight_decay=0.0))
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    run.fit(objective(loss=_of_nothing))
    for name, value in run.network.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_an_error_of_reading_ends_the_run(tmp_path: Path) -> None:
    def _read(indices: Indices) -> Indices:
        raise InputError("A broken sample", where=str(indices))

    with pytest.raises(InputError, match="A broken sample"):
        run_in(tmp_path).fit(objective(read=_read))


def test_algorithms_are_deterministic_on_the_cpu_only() -> None:
    """PyTorch refuses the gradient of ``grid_sample`` on a GPU where determinism is asked for."""
    try:
        engine.prepare(0, 1, "cuda")
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        engine.prepare(0, 1)
    assert torch.are_deterministic_algorithms_enabled()


def test_commit_is_a_hash_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = code_commit().removesuffix("+changes")
    assert commit == "unknown" or len(commit) == 40

    def _absent(*_arguments: object, **_options: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", _absent)
    assert code_commit() == "unknown"


def test_a_run_is_fitted_by_one_process_at_a_time(tmp_path: Path) -> None:
    def _disturbed(network: nn.Module, indices: Indices, generator: torch.Generator) -> Sequence[Part]:
        with pytest.raises(InputError, match="Another process writes here"):
            run_in(tmp_path).fit(objective())
        return noisy_loss(network, indices, generator)

    first = run_in(tmp_path)
    first.fit(objective(loss=_disturbed), last_update=2)
    second = run_in(tmp_path)
    second.fit(objective(), last_update=3)
    assert (first.update, second.update) == (2, 3)
