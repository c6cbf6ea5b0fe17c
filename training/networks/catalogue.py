"""The networks that a configuration can name, and how one takes over what another has learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor, nn

from service.errors import InputError
from training.networks.internimage import check_grid
from training.networks.masking import MaskedEmbedding
from training.networks.metnet import MetNet
from training.networks.segmentation import ARCHITECTURES, Architecture, Segmentation
from training.networks.unet import LEVELS, UNet

FRESH: Final = ("decoder.", "refinement.")
"""Parameters under these names begin anew when the task changes; all others are carried over."""


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
    refinement: width of two convolutions at full resolution after the decoder; 0 leaves them out.
    """

    name: Literal["internimage"]
    size: Annotated[Architecture, BeforeValidator(_by_name)]
    embedding: EmbeddingSettings | None = None
    channel_attention: bool = False
    refinement: int = Field(default=0, ge=0)


class UNetSettings(_Settings):
    """width: channels at full resolution. 8 costs as much as InternImage's nano; Ronneberger has 64."""

    name: Literal["unet"]
    width: int = Field(default=8, gt=0)


class MetNetSettings(_Settings):
    """See ``MetNet``; the defaults are KoMet's.

    On 224 x 128 cells they cost 40 times InternImage's nano, with 2 halvings 6 times, with 3 (28 x 16 cells
    in the coarse grid, KoMet: 25 x 32) 1.7 times.
    """

    name: Literal["metnet"]
    start_width: int = Field(default=16, gt=0)
    halvings: int = Field(default=1, gt=0)
    window: int = Field(default=3, gt=0)
    attention_width: int = Field(default=64, gt=0)
    groups: int = Field(default=16, gt=0)


NetworkSettings = Annotated[InternImageSettings | UNetSettings | MetNetSettings, Field(discriminator="name")]
"""The ``[network]`` table of a configuration."""


def build(
    settings: NetworkSettings, *, inputs: int, conditions: int, height: int, width: int, outputs: int
) -> nn.Module:
    """A fresh network; its parameters come from torch's global generator.

    Args:
        settings: which one.
        inputs: channels of the archive.
        conditions: planes after the channels (lead, hour); they are neither masked nor embedded.
        height, width: cells of the fields.
        outputs: channels of the result: logits, an amount after them, or the inputs again for pre-training.

    Returns:
        (batch, inputs + conditions, height, width) to (batch, outputs, height, width).

    Raises:
        InputError: the network does not fit fields of this shape.
    """
    try:
        match settings:
            case InternImageSettings():
                return _internimage(settings, inputs, conditions, height, width, outputs)
            case UNetSettings():
                check_grid((height, width), 2**LEVELS)
                return UNet(inputs=inputs + conditions, outputs=outputs, width=settings.width)
            case MetNetSettings():
                sizes = settings.model_dump(exclude={"name"})
                return MetNet(
                    inputs=inputs + conditions, outputs=outputs, height=height, width=width, **sizes
                )
    except ValueError as error:
        raise InputError("The network does not fit the archive", got=str(error)) from error


def _internimage(
    settings: InternImageSettings, inputs: int, conditions: int, height: int, width: int, outputs: int
) -> Segmentation:
    embedding = None
    if settings.embedding is not None:
        sizes = settings.embedding.model_dump()
        embedding = MaskedEmbedding(channels=inputs, height=height, width=width, **sizes)
    return Segmentation(
        replace(settings.size, inputs=inputs + conditions, classes=outputs),
        embedding=embedding,
        channel_attention=settings.channel_attention,
        refinement=settings.refinement,
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
