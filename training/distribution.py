"""Several processes that fit one network together: started by ``torchrun``, or one process alone.

``torchrun --nproc-per-node 2 -m training.finetune ...``. Every process takes an equal part of each batch; the
gradients, the statistics of batch normalisation and the counts that losses are divided by are those of the
whole batch, so that the loss is that of one process with the same batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, distributed

from service.errors import SettingsError

LAUNCHED: Final = "WORLD_SIZE"
"""Set by torchrun."""


@contextmanager
def processes(device: str) -> Iterator[None]:
    """Joins the group of processes that torchrun has started; alone, does nothing.

    Args:
        device: ``cpu`` (gloo) or ``cuda`` (NCCL, one device per process).
    """
    if LAUNCHED not in os.environ:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def together() -> bool:
    """Whether there is more than one process."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if together() else 0


def world() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if together() else 1


def total(value: Tensor) -> Tensor:
    """The sum over all processes; without gradient. The argument is unchanged."""
    if not together():
        return value.detach()
    result = value.detach().clone()
    distributed.all_reduce(result)
    return result


def wait() -> None:
    """Until all processes are here."""
    if together():
        distributed.barrier()


def share(batch: int) -> slice:
    """The part of a batch that falls to this process.

    Raises:
        SettingsError: the batch cannot be shared equally.
    """
    if batch % world():
        raise SettingsError(
            "The batch cannot be shared equally among the processes",
            expected=f"a multiple of {world()}",
            got=str(batch),
        )
    size = batch // world()
    return slice(rank() * size, (rank() + 1) * size)
