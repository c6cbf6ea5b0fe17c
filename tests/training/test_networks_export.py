"""Every network of the catalogue leaves through ONNX: standard operators, the probabilities of torch."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from training.export import check_parity, write_graph
from training.networks.catalogue import NetworkSettings, build
from training.networks.heads import Calibration, Ordinal, PiecewiseLinear
from training.networks.segmentation import Probabilities

SIZE = {"channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 2, 4], "decoder_width": 8}
SMALL = {
    "internimage": {
        "name": "internimage",
        "size": SIZE,
        "embedding": {"token_width": 16, "skip": True},
        "channel_attention": True,
        "refinement": 4,
    },
    "unet": {"name": "unet", "width": 2},
    "metnet": {
        "name": "metnet",
        "start_width": 2,
        "halvings": 2,
        "window": 2,
        "attention_width": 4,
        "groups": 2,
    },
}


def _network(name: str) -> nn.Module:
    """Random weights and running statistics, so that nothing cancels; one output that is no logit."""
    torch.manual_seed(0)
    settings: NetworkSettings = TypeAdapter(NetworkSettings).validate_python(SMALL[name])
    network = build(settings, inputs=4, conditions=1, height=32, width=64, outputs=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = None  # the running statistics are the mean over all passes
        for _ in range(3):
            network(torch.randn(4, 5, 32, 64))
    return network


@pytest.mark.parametrize("name", sorted(SMALL))
def test_onnx_runtime_gives_the_calibrated_probabilities_of_torch(name: str, tmp_path: Path) -> None:
    calibration = Calibration(
        PiecewiseLinear((0.0, 0.3, 0.9), (0.0, 0.5, 0.8)), PiecewiseLinear((0.01, 0.9), (0.0, 0.7))
    )
    model = Probabilities(_network(name), Ordinal(), calibration)
    write_graph(model, (5, 32, 64), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx")
    assert {(entry.domain, entry.version) for entry in graph.opset_import} == {("", 22)}
    assert not graph.functions
    assert not any("Random" in node.op_type for node in graph.graph.node)
    for batch in (1, 3):
        fields = np.random.default_rng(batch).normal(size=(batch, 5, 32, 64)).astype(np.float32)
        with torch.no_grad():
            assert model(torch.from_numpy(fields)).std(dim=(0, 2, 3)).min() > 0.01
        assert check_parity(model, tmp_path / "model.onnx", fields) <= 1e-4
