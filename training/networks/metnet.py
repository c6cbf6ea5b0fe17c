"""MetNet in KoMet's variant, generalised from 50 x 65 cells.

Sources: Sønderby et al. (2020), MetNet, https://doi.org/10.48550/arXiv.2003.12140; Kim et al. (2022), KoMet,
Benchmark dataset for precipitation forecasting by post-processing numerical weather prediction,
https://doi.org/10.48550/arXiv.2206.15241; the attention after Wang et al. (2020), Axial-DeepLab,
https://doi.org/10.1007/978-3-030-58548-8_7:

    convolution - pool - convolution                       the grid halved (here: once or several times)
    three layers of convolutional LSTM over a window       with a peephole per cell, which starts at zero
    two blocks of axial attention, height then width       16 groups; relative positions of query, key, value
    transposed convolution - convolution - 1 x 1 convolution

The window. KoMet feeds three consecutive hours of one forecast. Here a sample is one lead, as for every other
system of the comparison, and its neighbours are not at hand (a lead of 25 h would need 23 and 24 h, which the
paper's data do not hold either). So the LSTM sees the one lead ``window`` times: it has KoMet's parameters
and depth, all of them in use, but no more information than the other systems.

Other departures, each because the original makes a forecast depend on the others in its batch, or on grids of
one size: the LSTM normalises over the channels of a cell in place of the statistics of the batch; attention
scores are scaled by the root of the key's width in place of a batch normalisation.
"""

from math import sqrt

import torch
from torch import Tensor, nn

from training.networks.internimage import ChannelNorm, check_grid
from training.networks.normalisation import BatchNorm1d, BatchNorm2d

LAYERS = 3
BLOCKS = 2


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), BatchNorm2d(outputs), nn.ReLU())


class LSTMCell(nn.Module):
    """One layer of the convolutional LSTM.

    Shapes: input, output and memory (batch, channels, height, width) to the next output and memory.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 4 * channels, 3, padding=1)
        self.peephole = nn.Parameter(torch.zeros(channels, height, width))
        self.norm_gates = ChannelNorm(4 * channels, eps=1e-6)
        self.norm_memory = ChannelNorm(channels, eps=1e-6)

    def forward(self, x: Tensor, output: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        gates = self.norm_gates(self.gates(torch.cat([x, output], dim=1))).chunk(4, dim=1)
        seen = self.peephole * memory
        take, keep, give = (torch.sigmoid(gate + seen) for gate in gates[:3])
        memory = keep * memory + take * torch.tanh(gates[3])
        return give * torch.tanh(self.norm_memory(memory)), memory


class AxialAttention(nn.Module):
    """Attention among the cells of each column: (batch, channels, cells, columns) in and out.

    With r the learned vectors of relative position, per group and column

        y_i = sum_j softmax_j(q_i k_j + q_i rq_(j-i) + k_j rk_(j-i)) (v_j + rv_(j-i))
    """

    position: Tensor

    def __init__(self, channels: int, groups: int, cells: int) -> None:
        super().__init__()
        self.groups = groups
        self.deep = channels // groups
        self.key = max(self.deep // 2, 1)
        self.projection = nn.Conv1d(channels, groups * (2 * self.key + self.deep), 1, bias=False)
        self.norm = BatchNorm1d(groups * (2 * self.key + self.deep))
        self.relative = nn.Parameter(torch.randn(2 * self.key + self.deep, 2 * cells - 1) / sqrt(self.deep))
        index = torch.arange(cells)
        self.register_buffer("position", index[None, :] - index[:, None] + cells - 1, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, cells, columns = x.shape
        parts = [self.key, self.key, self.deep]
        lines = x.permute(0, 3, 1, 2).reshape(batch * columns, channels, cells)
        projected = self.norm(self.projection(lines)).reshape(batch * columns, self.groups, -1, cells)
        query, key, value = torch.split(projected, parts, dim=2)
        of_query, of_key, of_value = torch.split(self.relative[:, self.position], parts)
        scores = query.transpose(2, 3) @ key
        scores = scores + torch.einsum("bgci,cij->bgij", query, of_query)
        scores = scores + torch.einsum("bgcj,cij->bgij", key, of_key)
        weights = (scores / sqrt(self.key)).softmax(dim=-1)
        y: Tensor = value @ weights.transpose(2, 3) + torch.einsum("bgij,cij->bgci", weights, of_value)
        return y.reshape(batch, columns, channels, cells).permute(0, 2, 3, 1)


class AxialBlock(nn.Module):
    """A bottleneck with attention along columns, then along rows, as a residual branch."""

    def __init__(self, channels: int, inner: int, groups: int, height: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), BatchNorm2d(inner), nn.ReLU())
        self.columns = AxialAttention(inner, groups, height)
        self.rows = AxialAttention(inner, groups, width)
        self.widen = nn.Sequential(
            nn.ReLU(), nn.Conv2d(inner, channels, 1, bias=False), BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.columns(self.narrow(x))
        y = self.rows(y.transpose(2, 3)).transpose(2, 3)
        return torch.relu(x + self.widen(y))


class MetNet(nn.Module):
    """The network.

    Args:
        inputs: channels of the fields.
        outputs: channels of the result.
        height, width: cells of the fields; peepholes and relative positions belong to this grid.
        start_width: channels of the first convolution; the LSTM has twice as many (16 in KoMet).
        halvings: how often the grid is halved (1 in KoMet, whose grid has an eighth of the paper's cells).
        window: steps of the LSTM (3 in KoMet).
        attention_width, groups: of the axial attention (64 and 16 in KoMet).

    Shapes: (batch, inputs, height, width) to (batch, outputs, height, width).

    Raises:
        ValueError: the halvings do not divide the grid, or the groups the attention.
    """

    def __init__(
        self,
        *,
        inputs: int,
        outputs: int,
        height: int,
        width: int,
        start_width: int,
        halvings: int,
        window: int,
        attention_width: int,
        groups: int,
    ) -> None:
        super().__init__()
        check_grid((height, width), 2**halvings)
        if attention_width % groups:
            raise ValueError(f"{groups} groups do not divide an attention width of {attention_width}")
        coarse = (height // 2**halvings, width // 2**halvings)
        hidden = 2 * start_width
        self.window = window
        self.reduction = nn.Sequential(_convolution(inputs, start_width), nn.MaxPool2d(2))
        for _ in range(halvings - 1):
            self.reduction.extend([_convolution(start_width, start_width), nn.MaxPool2d(2)])
        self.reduction.append(_convolution(start_width, hidden))
        self.lstm = nn.ModuleList(LSTMCell(hidden, *coarse) for _ in range(LAYERS))
        self.aggregation = nn.Sequential(
            *(AxialBlock(hidden, attention_width, groups, *coarse) for _ in range(BLOCKS))
        )
        self.enlargement = nn.Sequential(
            *(nn.ConvTranspose2d(hidden, hidden, 2, stride=2) for _ in range(halvings)),
            _convolution(hidden, start_width),
        )
        self.classifier = nn.Conv2d(start_width, outputs, 1)

    def forward(self, fields: Tensor) -> Tensor:
        steps = [self.reduction(fields)] * self.window
        for cell in self.lstm:
            output = memory = torch.zeros_like(steps[0])
            outputs = []
            for step in steps:
                output, memory = cell(step, output, memory)
                outputs.append(output)
            steps = outputs
        y: Tensor = self.classifier(self.enlargement(self.aggregation(steps[-1])))
        return y
