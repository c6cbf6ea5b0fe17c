"""Several processes that fit one network: the same curve as one, and nothing shared that must differ."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from torch.multiprocessing.spawn import spawn

from service.errors import SettingsError
from tests.conftest import ROOT
from tests.training.conftest import write_fabricated
from tests.training.sample_processes import work
from tests.training.sample_settings import as_toml, changed
from training import distribution
from training.engine import CURVES, WEIGHTS
from training.finetune import Configuration, finetune, load_run
from training.samples import Split


def test_alone_there_is_one_process_and_nothing_to_wait_for() -> None:
    value = torch.tensor([1.0, 2.0], requires_grad=True)
    total = distribution.total(value)
    assert torch.equal(total, value.detach())
    assert not total.requires_grad
    assert (distribution.together(), distribution.rank(), distribution.world()) == (False, 0, 1)
    assert distribution.share(5) == slice(0, 5)
    distribution.wait()
    with distribution.processes("cpu"):
        assert not distribution.together()


def test_a_batch_that_cannot_be_shared_is_refused_before_the_first_update(
    configuration: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "world", lambda: 3)
    with pytest.raises(SettingsError, match=r"cannot be shared equally.*expected: a multiple of 3; got: 4"):
        finetune(configuration, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_processes_share_sums_and_batches_but_not_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(_free_port()))
    spawn(work, (tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for rank, each in enumerate(found):
        assert each["together"]
        assert not each["left"]
        assert each["place"].tolist() == [rank, 2]
        assert each["total"].tolist() == [3]
        assert not each["total"].requires_grad
        assert each["unchanged"].tolist() == [1 + rank]
        assert each["share"].tolist() == list(range(3 * rank, 3 * rank + 3))
        whole, parts = each["masks"].split(3)
        assert torch.equal(whole, parts)
        assert len({tuple(mask.tolist()) for mask in whole}) == 3
    assert all((one != other).any() for one, other in zip(found[0]["masks"], found[1]["masks"], strict=True))
    assert (tmp_path / "whole" / WEIGHTS).exists()


@pytest.fixture
def shared_configuration(configuration: Configuration, tmp_path: Path) -> Configuration:
    """All parts of the loss, masks and batch normalisation; the halves of a batch observe other cells."""
    data = write_fabricated(tmp_path / "data.zarr")
    rain_mm = zarr.open_array(data.archive, path="rain_mm", mode="r+")
    for row, rows in ((3, 20), (4, 5), (6, 28), (9, 12)):
        rain_mm[row, :rows] = np.nan
    return changed(
        configuration,
        data={"archive": data.archive},
        network={"size": {"drop_path": 0.0, "dropout": 0.0}, "embedding": {"token_width": 16}},
        loss={"amount": 0.5, "csi": 2.0},
        mask_ratio=0.25,
        optimisation={"validate_every": 1, "gradient_clip": 1.0},
    )


def test_two_processes_give_the_curve_of_one(shared_configuration: Configuration, tmp_path: Path) -> None:
    alone = finetune(shared_configuration, tmp_path / "alone")
    (tmp_path / "shared.toml").write_text(as_toml(shared_configuration))
    command = "-m torch.distributed.run --standalone --nproc-per-node 2 -m training.finetune"
    answer = subprocess.run(
        [sys.executable, *command.split(), "--config", tmp_path / "shared.toml", "--out", tmp_path / "two"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    last = json.loads(answer.stdout)
    assert last["update"] == 4
    with (tmp_path / "two" / CURVES).open(newline="") as file:
        together = list(csv.DictReader(file))
    for name in ("training_loss", "learning_rate", "validation_loss"):
        found = [float(row[name]) for row in together]
        assert found == pytest.approx([row[name] for row in alone.rows], rel=1e-5), name
    provenance, network = load_run(tmp_path / "two")
    assert provenance.processes == 2
    fields = torch.from_numpy(Split(shared_configuration.data, "test").fields([0, 1]))
    with torch.no_grad():
        torch.testing.assert_close(
            network(fields), load_run(tmp_path / "alone")[1](fields), rtol=1e-3, atol=1e-3
        )
