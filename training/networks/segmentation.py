"""The paper's post-processor: forecast fields in, logits of the precipitation classes out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.camt import ChannelAttention
from training.networks.heads import Calibration, Head, Softmax
from training.networks.internimage import STRIDE, InternImage, padded, resized
from training.networks.masking import MaskedEmbedding
from training.networks.upernet import UPerNet


@dataclass(frozen=True)
class Architecture:
    """Everything that fixes the shape of the network's parameters, and its rates of regularisation."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic in configurations

    channels: int
    depths: tuple[int, int, int, int]
    groups: tuple[int, int, int, int]
    decoder_width: int
    inputs: int = 16
    classes: int = 3
    perceptron_ratio: float = 4.0
    drop_path: float = 0.0
    dropout: float = 0.1


ARCHITECTURES = {
    "T": Architecture(64, (4, 4, 18, 4), (4, 8, 16, 32), decoder_width=256, drop_path=0.2),
    "nano": Architecture(32, (1, 1, 3, 1), (2, 4, 8, 16), decoder_width=32, perceptron_ratio=3.0),
}


class Refinement(nn.Module):
    """Adds to the outputs what only the full resolution shows.

    The stem halves its input twice before the first block, so that the decoder's outputs are four cells wide;
    here two convolutions see them beside the fields themselves. It begins as no change at all.

    Shapes: fields (batch, inputs, height, width) and outputs (batch, outputs, height, width) to the latter's.
    """

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.joined = nn.Conv2d(inputs + outputs, width, 3, padding=1)
        self.change = nn.Conv2d(width, outputs, 3, padding=1)
        for parameter in self.change.parameters():
            nn.init.zeros_(parameter)

    def forward(self, fields: Tensor, outputs: Tensor) -> Tensor:
        joined = functional.gelu(self.joined(torch.cat([fields, outputs], dim=1)))
        y: Tensor = outputs + self.change(joined)
        return y


class Segmentation(nn.Module):
    """InternImage encoder and UPerNet decoder, with what may stand before them.

    Masked embedding, channel attention, stem, encoder, decoder, refinement. Called with one argument it masks
    nothing. Where the strides do not divide the fields, the encoder sees their last row and column repeated,
    and what the decoder says of the cells beyond is left out.

    Args:
        architecture: sizes.
        embedding: the masked patch embedding, or None.
        channel_attention: weigh the input fields (CAMT).
        refinement: width of the convolutions at full resolution; 0 leaves them out.

    Shapes: z-scored (batch, inputs, height, width) to logits (batch, classes, height, width).

    Raises:
        ValueError: a mask without an embedding.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        embedding: MaskedEmbedding | None = None,
        channel_attention: bool = False,
        refinement: int = 0,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.embedding = embedding
        self.attention = ChannelAttention(architecture.inputs) if channel_attention else None
        self.encoder = InternImage(
            inputs=architecture.inputs,
            channels=architecture.channels,
            depths=architecture.depths,
            groups=architecture.groups,
            perceptron_ratio=architecture.perceptron_ratio,
            drop_path=architecture.drop_path,
        )
        self.decoder = UPerNet(
            inputs=self.encoder.widths,
            width=architecture.decoder_width,
            outputs=architecture.classes,
            dropout=architecture.dropout,
        )
        self.refinement = (
            Refinement(architecture.inputs, architecture.classes, refinement) if refinement else None
        )

    def forward(self, fields: Tensor, masked: Tensor | None = None) -> Tensor:
        """``masked``: (batch, tokens) bool, drawn by ``embedding.draw``."""
        if self.embedding is not None:
            fields = self.embedding(fields, masked)
        elif masked is not None:
            raise ValueError("a mask needs a network with a masked embedding")
        if self.attention is not None:
            fields = self.attention(fields)
        whole = padded(fields, STRIDE)
        height, width = fields.shape[-2:]
        outputs = resized(self.decoder(self.encoder(whole)), whole)[..., :height, :width]
        return outputs if self.refinement is None else self.refinement(fields, outputs)


class Probabilities(nn.Module):
    """The exported form: class probabilities instead of logits.

    Args:
        network: any of the catalogue, with at least as many outputs as the head has logits.
        head: what the logits mean; softmax unless given.
        calibration: applied to the probabilities; none unless given.

    Shapes: z-scored (batch, inputs, height, width) to (batch, class, height, width).
    """

    def __init__(
        self, network: nn.Module, head: Head | None = None, calibration: Calibration | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.head = Softmax() if head is None else head
        self.calibration = calibration

    def forward(self, fields: Tensor) -> Tensor:
        probabilities: Tensor = self.head.probabilities(self.network(fields))
        if self.calibration is not None:
            probabilities = self.calibration(probabilities)
        return probabilities
