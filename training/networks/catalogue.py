"""The networks that a configuration can name, and how one takes over what another has learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor, nn

from service.errors import InputError
from training.networks.masking import MaskedEmbedding
from training.networks.segmentation import ARCHITECTURES, Architecture, Segmentation

FRESH: Final = "decoder."
"""Parameters under this name begin anew when the task changes; all others are carried over."""


def _by_name(value: Any) -> Any:
    if isinstance(value, str):
        if value not in ARCHITECTURES:
            raise ValueError(f"no size {value!r}; there are {sorted(ARCHITECTURES)}")
        return ARCHITECTURES[value]
    return value


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EmbeddingSettings(_Settings):
    """``[network.embedding]``: see ``MaskedEmbedding``.

    token_width: numbers per token.
    skip: add the unmasked input to what is embedded.
    patch_channels, patch_cells: fields, and cells per side, of one token; 1 for an archive of one channel.
    """

    token_width: int = Field(default=512, gt=0)
    skip: bool = False
    patch_channels: int = Field(default=4, gt=0)
    patch_cells: int = Field(default=16, gt=0)


class InternImageSettings(_Settings):
    """InternImage encoder and UPerNet decoder.

    size: a name of ``ARCHITECTURES`` or a table with the fields of ``Architecture``; its ``inputs`` and
        ``classes`` come from the data and the task.
    embedding: the masked patch embedding of pre-training; without the table there is none.
    channel_attention: weigh the input fields (CAMT).
    """

    name: Literal["internimage"]
    size: Annotated[Architecture, BeforeValidator(_by_name)]
    embedding: EmbeddingSettings | None = None
    channel_attention: bool = False


NetworkSettings = InternImageSettings


def build(
    settings: NetworkSettings, *, inputs: int, conditions: int, height: int, width: int, outputs: int
) -> Segmentation:
    """A fresh network; its parameters come from torch's global generator.

    Args:
        settings: which one.
        inputs: channels of the archive.
        conditions: planes after the channels (lead, hour); they are neither masked nor embedded.
        height, width: cells of the fields.
        outputs: channels of the result: logits, amounts, or the inputs again for pre-training.

    Returns:
        (batch, inputs + conditions, height, width) to (batch, outputs, height, width).

    Raises:
        InputError: the network does not fit fields of this shape.
    """
    embedding = None
    if settings.embedding is not None:
        sizes = settings.embedding.model_dump()
        try:
            embedding = MaskedEmbedding(channels=inputs, height=height, width=width, **sizes)
        except ValueError as error:
            raise InputError("The network does not fit the archive", got=str(error)) from error
    return Segmentation(
        replace(settings.size, inputs=inputs + conditions, classes=outputs),
        embedding=embedding,
        channel_attention=settings.channel_attention,
    )


def transfer(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Carries everything but the decoder over from the state of a pre-trained network.

    Args:
        network: the fresh one; its decoder stays as it is.
        state: ``state_dict()`` of a network with the same encoder, embedding and inputs.

    Raises:
        InputError: the state is of another architecture; names what differs. The network is unchanged.
    """
    carried = {name: value for name, value in state.items() if not name.startswith(FRESH)}
    own = {name: value for name, value in network.state_dict().items() if not name.startswith(FRESH)}
    differences = [f"no {name} in the checkpoint" for name in own if name not in carried]
    differences += [f"{name} in the checkpoint only" for name in carried if name not in own]
    differences += [
        f"{name} is {tuple(carried[name].shape)} in the checkpoint, {tuple(value.shape)} here"
        for name, value in own.items()
        if name in carried and carried[name].shape != value.shape
    ]
    if differences:
        listed = "; ".join(differences[:3])
        raise InputError(
            "The checkpoint is of another architecture",
            expected="the same encoder, embedding and inputs",
            got=f"{len(differences)} differences: {listed}",
        )
    network.load_state_dict(carried, strict=False)
