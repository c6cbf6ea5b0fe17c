"""The schedule of the learning rate and the averaged weights."""

from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.engine import Objective, Optimisation, Run, code_commit


def _settings(**changes: object) -> Optimisation:
    base: dict[str, object] = {"epochs": 4, "batch": 2, "learning_rate": 0.1, "schedule": "constant"}
    return Optimisation.model_validate(base | changes)


def _objective() -> Objective:
    targets = torch.arange(6.0)

    def _loss(network: nn.Module, indices: NDArray[np.intp]) -> Tensor:
        loss: Tensor = (network(torch.ones(len(indices), 1))[:, 0] - targets[indices]).square().mean()
        return loss

    return Objective(_loss, 6, lambda network: {"loss": _loss(network, np.arange(6)).item()})


def test_rate_grows_then_follows_a_cosine_to_zero() -> None:
    settings = _settings(schedule="cosine", warmup_steps=4)
    factors = [settings.rate_factor(step, 20) for step in range(21)]
    assert factors[:4] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert factors[12] == pytest.approx(0.5)
    assert factors[20] == pytest.approx(0, abs=1e-12)
    assert all(later < earlier for earlier, later in pairwise(factors[4:]))


def test_constant_rate_stays() -> None:
    assert {_settings().rate_factor(step, 20) for step in range(20)} == {1.0}


def test_every_sample_is_seen_once_an_epoch_in_another_order(tmp_path: Path) -> None:
    seen: list[list[int]] = []
    objective = _objective()

    def _loss(network: nn.Module, indices: NDArray[np.intp]) -> Tensor:
        seen.append(indices.tolist())
        return objective.loss(network, indices)

    Run(tmp_path, nn.Linear(1, 1), _settings(epochs=2), 0).fit(Objective(_loss, 6, objective.validate))
    epochs = [list(chain(*seen[:3])), list(chain(*seen[3:]))]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(6))
    assert epochs[0] != epochs[1]


def test_averaged_weights_are_the_ones_validated(tmp_path: Path) -> None:
    torch.manual_seed(0)
    run = Run(tmp_path, nn.Linear(1, 1), _settings(average_decay=0.5), 0)
    run.fit(_objective())
    averaged = float(_objective().validate(run.average)["loss"])
    fitted = float(_objective().validate(run.network)["loss"])
    assert averaged != fitted
    assert run.rows[-1]["validation_loss"] == pytest.approx(averaged)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Linear(1, 1)
    Run(tmp_path, network, _settings(epochs=1, batch=6, gradient_clip=1e-3), 0).fit(_objective())
    assert network.weight.grad is not None
    assert network.bias.grad is not None
    assert torch.hypot(network.weight.grad.norm(), network.bias.grad.norm()).item() <= 1.001e-3


def test_commit_is_a_hash_or_unknown() -> None:
    commit = code_commit().removesuffix("+changes")
    assert commit == "unknown" or len(commit) == 40
