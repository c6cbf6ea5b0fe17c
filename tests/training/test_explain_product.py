"""The command that explains a published product, on a network whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import xarray as xr
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.__main__ import main as rainpost
from service.artefact import Artefact, digest_file, normalise
from service.cycle import read_cycle
from service.errors import InferenceError, NotFound, OutsideGrid
from service.product_coordinates import product_grid
from tests.service.sample_artefact import SAMPLE_SPECIFICATION, write_artefact
from tests.service.sample_cycle import write_cycle
from training.explain import DEPTHS, main

CHANNELS, ROWS, COLUMNS, WEST = 3, 8, 6, 3
RAIN = 2
"""The channel that alone speaks for heavy rain, and in the western columns alone."""


def write_known_graph(path: Path) -> None:
    """The fields and a tenth of their first stage change sign, are cut to the west and read class by class.

    The logit of a class in a cell is the fused channel of the same number there; in the east it is zero.
    """
    fusion = np.zeros((CHANNELS, 5 * CHANNELS, 1, 1), np.float32)
    for channel in range(CHANNELS):
        fusion[channel, channel], fusion[channel, CHANNELS + channel] = -1.0, -0.1
    west = (np.arange(COLUMNS) < WEST).astype(np.float32)
    constants = {
        "network.decoder.fusion.0.weight": fusion,
        "west": np.broadcast_to(west, (1, 1, ROWS, COLUMNS)),
        "scale": np.ones(CHANNELS, np.float32),
    }
    nodes = [helper.make_node("Transpose", ["fields"], ["last"], perm=[0, 2, 3, 1])]
    for stage in range(4):
        scale = f"network.encoder.stages.{stage}.norm.weight"
        constants[scale] = np.ones(CHANNELS, np.float32)
        nodes.append(helper.make_node("LayerNormalization", ["last", scale], [f"norm{stage}"], axis=-1))
        nodes.append(helper.make_node("Transpose", [f"norm{stage}"], [f"stage{stage}"], perm=[0, 3, 1, 2]))
    del constants["scale"]
    nodes += [
        helper.make_node("Concat", ["fields", *(f"stage{one}" for one in range(4))], ["all"], axis=1),
        helper.make_node(
            "Conv",
            ["all", "network.decoder.fusion.0.weight"],
            ["fused"],
            kernel_shape=[1, 1],
            strides=[1, 1],
            pads=[0, 0, 0, 0],
            dilations=[1, 1],
            group=1,
        ),
        helper.make_node("Relu", ["fused"], ["fusion"]),
        helper.make_node("Mul", ["fusion", "west"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", CHANNELS, ROWS, COLUMNS])
        for name in ("fields", "probabilities")
    ]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(one), name) for name, one in constants.items()]
    graph = helper.make_graph(nodes, "known", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), path)


@pytest.fixture
def product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A product of the known network, with its inputs in ``cycle``."""
    write_known_graph(tmp_path / "known.onnx")
    write_artefact(tmp_path / "models", graph=tmp_path / "known.onnx")
    for name in ("models", "data"):
        monkeypatch.setenv(f"RAINPOST_{name.upper()}_FOLDER", str(tmp_path / name))
    paths = write_cycle(tmp_path / "cycle")
    assert rainpost(["correct", *map(str, paths), "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*.nc")
    return path


def fused(folder: Path, lead: int) -> NDArray[np.float32]:
    """What the network makes of the rain before it is cut, by hand."""
    cycle = read_cycle(sorted((folder / "cycle").iterdir()), SAMPLE_SPECIFICATION)
    manifest = Artefact.load(folder / "models" / "sample-0.1.0").manifest
    scores = normalise(cycle.values[cycle.leads_hours.index(lead)], manifest)
    deviations = scores - scores.mean(axis=0)
    stage = deviations / np.sqrt((deviations**2).mean(axis=0) + 1e-5)
    known: NDArray[np.float32] = np.maximum(-scores[RAIN] - 0.1 * stage[RAIN], 0)
    return known


def ask(product: Path, row: int, column: int, *more: str) -> Path:
    """Explain heavy rain at lead 3 in a cell; the folder of the answer."""
    with xr.open_dataset(product) as dataset:
        latitude, longitude = (float(dataset[name][row, column]) for name in ("latitude", "longitude"))
    out = product.parent / "out"
    place = ["--lead", "3", "--lat", str(latitude), "--lon", str(longitude)]
    main(["--product", str(product), *place, "--out", str(out), str(product.parent / "cycle"), *more])
    return out


def explanation(folder: Path, name: str) -> xr.Dataset:
    (path,) = folder.glob(f"*/*/{name}.nc")
    with xr.open_dataset(path) as dataset:
        return dataset.load()


def test_the_region_that_counts_and_the_channel_that_counts_are_found(product: Path) -> None:
    found = explanation(ask(product, 5, 1), "h003_heavy_rain_y005_x001")
    heat = dict(zip(DEPTHS, found["relevance"].values, strict=True))
    expected = fused(product.parent, 3)
    assert expected.max() > 0
    np.testing.assert_allclose(heat["fusion"], expected / expected.max(), atol=1e-5)
    assert heat["stage 1"].max() == 1, "it has a share in what is fused"
    for depth in ("stage 2", "stage 3", "stage 4"):
        np.testing.assert_array_equal(heat[depth], 0)
    assert found.attrs["product_sha256"] == digest_file(product)
    assert (int(found["row"]), int(found["column"])) == (5, 1)


def test_nothing_speaks_for_a_cell_that_the_network_does_not_look_at(product: Path) -> None:
    found = explanation(ask(product, 5, WEST), f"h003_heavy_rain_y005_x00{WEST}")
    np.testing.assert_array_equal(found["relevance"].values, 0)


def test_the_class_is_the_one_that_was_asked_for(product: Path) -> None:
    rain = explanation(ask(product, 5, 1, "--class", "rain"), "h003_rain_y005_x001")
    heavy = explanation(ask(product, 5, 1), "h003_heavy_rain_y005_x001")
    assert not np.allclose(rain["relevance"][-1], heavy["relevance"][-1])


def test_what_the_product_does_not_have_is_refused(product: Path) -> None:
    cycle = str(product.parent / "cycle")
    place = ["--lat", "38.0", "--lon", "126.0"]
    for more, what in (
        (["--lead", "9"], "no such lead"),
        (["--lead", "3", "--class", "snow"], "no such class"),
    ):
        with pytest.raises(NotFound, match=what):
            main(["--product", str(product), *more, *place, cycle])
    with pytest.raises(NotFound, match="files that the product was made from"):
        main(["--product", str(product), "--lead", "3", *place])
    with pytest.raises(OutsideGrid):
        main(["--product", str(product), "--lead", "3", "--lat", "0", "--lon", "0", cycle])


def test_a_product_that_the_network_does_not_give_is_refused(product: Path) -> None:
    with xr.open_dataset(product) as dataset:
        changed = dataset.load()
    assert product_grid(changed).shape == (ROWS, COLUMNS)
    changed["class_probability"][1, 0, 0, 0] += 0.01
    changed.to_netcdf(product)
    with pytest.raises(InferenceError, match="does not give the probabilities"):
        ask(product, 5, 1)
