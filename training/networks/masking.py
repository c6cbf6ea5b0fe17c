"""Masked patch embedding before the encoder: what self-supervised pre-training hides and restores.

Source: paper sections 2.1, 2.3 and appendix C; Feichtenhofer et al. (2022), Masked autoencoders as
spatiotemporal learners, https://doi.org/10.48550/arXiv.2205.09113, with the variables in the place of time:
one token covers 4 variables x 16 x 16 cells, so that 16 x 224 x 128 values are 4 x 14 x 8 = 448 tokens. The
order of the variables decides which of them share a token: it is the archive's order, and part of the model.

Unlike a masked autoencoder's, the encoder is convolutional and sees the whole field: a masked token is
replaced by a learned one, and all tokens go back to the grid.
"""

from math import floor

import torch
from torch import Tensor, nn


def kept_tokens(tokens: int, ratio: float) -> int:
    """How many of ``tokens`` a mask ratio leaves, rounded down: 44 of 448 at 90 %, 336 at 25 %.

    Raises:
        ValueError: the ratio is not in [0, 1).
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"the mask ratio must be in [0, 1), it is {ratio}")
    # 10 * (1 - 0.9) is a little below one.
    return floor(tokens * (1 - ratio) + 1e-6)


class MaskedEmbedding(nn.Module):
    """Patches to tokens, some of them masked, and back to the grid.

    patch embedding -> mask token -> variable group + row + column position -> layer norm -> projection

    Args:
        channels: fields that are embedded; further ones in ``forward`` pass unchanged.
        height, width: cells of the fields.
        token_width: numbers per token; below ``patch_channels * patch_cells**2`` detail is lost.
        patch_channels, patch_cells: fields and cells per side in one token.
        skip: add the unmasked input to the result (zero where masked), because the layer norm takes the
            absolute intensity of a token away.

    Attributes:
        tokens: their number, (channels / patch_channels) * (height / patch_cells) * (width / patch_cells).

    Shapes: (batch, channels + any, height, width) in and out.

    Raises:
        ValueError: the patches do not divide the fields.
    """

    def __init__(
        self,
        *,
        channels: int,
        height: int,
        width: int,
        token_width: int,
        patch_channels: int = 4,
        patch_cells: int = 16,
        skip: bool = False,
    ) -> None:
        super().__init__()
        if channels % patch_channels or height % patch_cells or width % patch_cells:
            raise ValueError(
                f"patches of {patch_channels} x {patch_cells} x {patch_cells} do not divide fields of "
                f"{channels} x {height} x {width}"
            )
        self.channels = channels
        self.patch = (patch_channels, patch_cells, patch_cells)
        self.layout = (channels // patch_channels, height // patch_cells, width // patch_cells)
        self.tokens = self.layout[0] * self.layout[1] * self.layout[2]
        self.skip = skip
        values = patch_channels * patch_cells**2
        groups, rows, columns = self.layout
        self.embedding = nn.Linear(values, token_width)
        self.mask_token = nn.Parameter(torch.zeros(token_width))
        self.group_position = nn.Parameter(torch.zeros(groups, 1, 1, token_width))
        self.row_position = nn.Parameter(torch.zeros(rows, 1, token_width))
        self.column_position = nn.Parameter(torch.zeros(columns, token_width))
        self.norm = nn.LayerNorm(token_width, eps=1e-6)
        self.projection = nn.Linear(token_width, values)
        for parameter in (self.mask_token, self.group_position, self.row_position, self.column_position):
            nn.init.trunc_normal_(parameter, std=0.02)
        for layer in (self.embedding, self.projection):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def draw(self, samples: int, ratio: float, generator: torch.Generator) -> Tensor:
        """Masks without structure, without replacement, of the exact ratio.

        Args:
            samples: how many masks.
            ratio: share of the tokens that are masked, in [0, 1); see ``kept_tokens``.
            generator: the only source of chance; the masks are on its device.

        Returns:
            (samples, tokens) bool, True where masked. Tokens count column by column, then row, then group.

        Raises:
            ValueError: the ratio is not in [0, 1).
        """
        kept = kept_tokens(self.tokens, ratio)
        noise = torch.rand(samples, self.tokens, generator=generator, device=generator.device)
        masked = torch.ones(samples, self.tokens, dtype=torch.bool, device=generator.device)
        return masked.scatter_(1, noise.argsort(dim=1)[:, :kept], value=False)

    def expand(self, masked: Tensor) -> Tensor:
        """The mask of tokens (batch, tokens) as a mask of values (batch, channels, height, width)."""
        cells = masked.reshape(-1, *self.layout)
        for axis, size in enumerate(self.patch, start=1):
            cells = cells.repeat_interleave(size, dim=axis)
        return cells

    def forward(self, fields: Tensor, masked: Tensor | None = None) -> Tensor:
        """Embeds the first ``channels`` fields; ``masked`` as ``draw`` gives it, None masks nothing."""
        embedded, others = fields[:, : self.channels], fields[:, self.channels :]
        tokens = self.embedding(self._to_patches(embedded))
        if masked is not None:
            tokens = torch.where(masked.reshape(-1, *self.layout, 1), self.mask_token, tokens)
        tokens = self.norm(tokens + self.group_position + self.row_position + self.column_position)
        result = self._to_fields(self.projection(tokens))
        if self.skip:
            visible = embedded if masked is None else embedded.masked_fill(self.expand(masked), 0)
            result = result + visible
        return torch.cat([result, others], dim=1)

    def _to_patches(self, fields: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, group, row, column, value)."""
        groups, rows, columns = self.layout
        depth, tall, wide = self.patch
        parted = fields.reshape(-1, groups, depth, rows, tall, columns, wide)
        return parted.permute(0, 1, 3, 5, 2, 4, 6).flatten(4)

    def _to_fields(self, patches: Tensor) -> Tensor:
        """Inverse of ``_to_patches``."""
        parted = patches.reshape(-1, *self.layout, *self.patch).permute(0, 1, 4, 2, 5, 3, 6)
        return parted.flatten(5, 6).flatten(3, 4).flatten(1, 2)
