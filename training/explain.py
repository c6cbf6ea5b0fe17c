"""Grad-CAM: which places speak for a class, at a chosen depth of the network.

``python -m training.explain --product 2026-11-22T00Z --lead 27 --lat 37.57 --lon 126.98 --class heavy_rain
FILE...`` explains a published product, from its inputs and with the exported graph of its model, for the
service to show. It writes into ``explanations`` in RAINPOST_DATA_FOLDER, or into ``--out``.

Sources: paper appendix D.3, equations 3 and 4; Selvaraju et al. (2017), Grad-CAM,
https://doi.org/10.1109/ICCV.2017.74.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from service.artefact import Artefact, digest_file, normalise
from service.audit import (
    ProductOrigin,
    check_published,
    find_artefact,
    find_inputs,
    find_product,
    kept_uploads,
)
from service.cycle import read_cycle
from service.errors import InferenceError, InputError, NotFound
from service.explanations import Cell, Explanations, build_explanation
from service.product import point
from service.settings import Settings
from service.shelf import NETCDF_LOCK
from training.exported import ExportedGraph

Depth = Literal["stage 1", "stage 2", "stage 3", "stage 4", "fusion"]
"""The stages of the encoder, at strides 4, 8, 16 and 32, and the fused pyramid of the decoder."""

DEPTHS: Final[tuple[Depth, ...]] = get_args(Depth)


def heat_map(
    network: nn.Module,
    fields: NDArray[np.float32],
    class_index: int,
    depth: Depth,
    cell: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """How strongly each place speaks for a class.

    The weight of a feature map is the gradient of the class score summed over the map's cells (equation 4);
    the result is the positive part of the weighted sum of the feature maps (equation 3; the positive part is
    Selvaraju's), brought to the grid of the fields by bilinear interpolation. Its unit has no meaning, its
    pattern has.

    Args:
        network: with ``encoder`` (fields to a list of features, finest first) and ``decoder.fusion``, in
            evaluation mode. It is left as it was.
        fields: (channel, y, x), as the network takes them.
        class_index: the output channel whose logit is the score.
        depth: where to look.
        cell: (y, x) of the one cell whose score is explained; None sums the score over the field.

    Returns:
        (y, x), not negative.

    Raises:
        InputError: a network in training mode or without this depth, no such class or cell.
    """
    if network.training:
        raise InputError("The network is in training mode", advice="call its eval() first")
    with torch.enable_grad():
        # With a gradient of their own, or a network of fixed parameters would leave no graph behind.
        features, logits = _features_and_logits(
            network, torch.from_numpy(fields)[None].requires_grad_(), depth
        )
        (gradient,) = torch.autograd.grad(_class_score(logits[0], class_index, cell), features)
    return _heat(features, gradient, fields.shape[-2:])


def exported_heat_maps(
    graph: ExportedGraph, fields: NDArray[np.float32], class_index: int, cell: tuple[int, int] | None = None
) -> tuple[dict[Depth, NDArray[np.float32]], NDArray[np.float32]]:
    """``heat_map`` at all depths of an exported graph, and its probabilities (class, y, x).

    Raises InputError for a class or cell that is not there, ArtefactError for a graph without these depths.
    """
    # What a stage gives is normalised last, with its channels last.
    stages = [
        graph.taken_by("LayerNormalization", f"encoder.stages.{number}.norm.weight")
        for number in range(len(DEPTHS) - 1)
    ]
    names = [*stages, graph.made_of("Relu", graph.taken_by("Conv", "decoder.fusion.0.weight"))]
    with torch.enable_grad():
        values = graph.run(torch.from_numpy(fields)[None].requires_grad_())
        score = _class_score(values[graph.logits][0], class_index, cell)
        gradients = torch.autograd.grad(score, [values[name] for name in names])
    heat = {}
    for depth, name, gradient in zip(DEPTHS, names, gradients, strict=True):
        pair = (values[name], gradient)
        features, slope = pair if depth == "fusion" else (one.permute(0, 3, 1, 2) for one in pair)
        heat[depth] = _heat(features, slope, fields.shape[-2:])
    probabilities: NDArray[np.float32] = values[graph.output][0].detach().numpy()
    return heat, probabilities


def explain(
    product_path: Path, artefact: Artefact, inputs: Sequence[Path], cell_of: tuple[int, str, float, float]
) -> tuple[xr.Dataset, Cell]:
    """The explanation of a product.

    Args:
        product_path: the product, with its digests.
        artefact: the model that made it.
        inputs: the files that it was made from, in its order.
        cell_of: lead in hours, name of the class, latitude and longitude.

    Raises:
        NotFound: the product has no such lead or class.
        ArtefactError: a graph that cannot be explained, or does not reproduce its golden case.
        InferenceError: the graph does not give the probabilities of the product.
    """
    lead, class_name, latitude, longitude = cell_of
    with NETCDF_LOCK, xr.open_dataset(product_path, engine="netcdf4") as dataset:
        product = dataset.load()
    classes = [str(name) for name in product["class_name"].values]
    leads = np.atleast_1d(product.attrs["leads_present"]).tolist()
    for what, got, known in (("lead", lead, leads), ("class", class_name, classes)):
        if got not in known:
            raise NotFound(f"the product has no such {what}", expected=f"one of {known}", got=str(got))
    where = point(product, latitude, longitude)["cell"]
    cell = Cell(lead, class_name, where["row"], where["column"])
    graph = ExportedGraph(artefact.graph)
    graph.prove(artefact)
    cycle = read_cycle(inputs, artefact.manifest.cycle, minimum_leads=len(leads))
    fields = normalise(cycle.values[cycle.leads_hours.index(lead)], artefact.manifest)
    heat, probabilities = exported_heat_maps(
        graph, fields, classes.index(class_name), (cell.row, cell.column)
    )
    published = product["class_probability"].sel(lead=lead).values
    difference = float(np.abs(probabilities - published).max())
    if not difference <= artefact.manifest.golden.tolerance:
        raise InferenceError(
            "The network does not give the probabilities of the product",
            where=str(product_path),
            expected=f"a difference of at most {artefact.manifest.golden.tolerance:g}",
            got=f"{difference:g}",
            advice="rainpost audit tells more",
        )
    named = {str(depth): one for depth, one in heat.items()}
    return build_explanation(product, digest_file(product_path), cell, named), cell


def _heat(features: Tensor, gradient: Tensor, shape: Sequence[int]) -> NDArray[np.float32]:
    """Equations 3 and 4 over features (1, channel, y, x), on the grid of the fields."""
    weights = gradient.sum(dim=(2, 3), keepdim=True)
    positive = functional.relu((weights * features.detach()).sum(dim=1, keepdim=True))
    on_grid = functional.interpolate(positive, size=tuple(shape), mode="bilinear", align_corners=False)
    result: NDArray[np.float32] = on_grid[0, 0].numpy()
    return result


def _features_and_logits(network: nn.Module, fields: Tensor, depth: Depth) -> tuple[Tensor, Tensor]:
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor | list[Tensor]) -> None:
        kept.append(output if isinstance(output, Tensor) else output[DEPTHS.index(depth)])

    try:
        observed = network.get_submodule("decoder.fusion" if depth == "fusion" else "encoder")
        handle = observed.register_forward_hook(keep)
        try:
            logits: Tensor = network(fields)
        finally:
            handle.remove()
    except (AttributeError, IndexError) as error:
        raise InputError("The network has no such depth", where=type(network).__name__, got=depth) from error
    return kept[-1], logits


def _class_score(logits: Tensor, class_index: int, cell: tuple[int, int] | None) -> Tensor:
    classes, *shape = logits.shape
    if not 0 <= class_index < classes:
        raise InputError("No such class", expected=f"0 to {classes - 1}", got=str(class_index))
    if cell is None:
        return logits[class_index].sum()
    if not all(0 <= place < size for place, size in zip(cell, shape, strict=True)):
        raise InputError("No such cell", expected=f"(y, x) within {tuple(shape)}", got=str(cell))
    return logits[class_index, cell[0], cell[1]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.explain", description=__doc__)
    parser.add_argument("--product", required=True, help="a NetCDF file, or a cycle in RAINPOST_DATA_FOLDER")
    parser.add_argument("--revision", type=int, help="of a cycle (default: the newest)")
    parser.add_argument("--lead", type=int, required=True, help="in hours")
    parser.add_argument("--lat", type=float, required=True, help="of the cell, in degrees")
    parser.add_argument("--lon", type=float, required=True, help="of the cell, in degrees")
    parser.add_argument("--class", dest="class_name", default="heavy_rain", help="name of the class")
    parser.add_argument("--out", type=Path, help="folder (default: explanations in RAINPOST_DATA_FOLDER)")
    parser.add_argument("files", nargs="*", type=Path, help="the product's inputs, or folders that hold them")
    options = parser.parse_args(arguments)
    settings = Settings.load()
    product = find_product(settings, options.product, options.revision)
    check_published(product)
    origin = ProductOrigin.read(product)
    artefact = find_artefact(settings.models_folder, origin)
    inputs = find_inputs(origin, [*options.files, *kept_uploads(settings)])
    dataset, cell = explain(
        product, artefact, inputs, (options.lead, options.class_name, options.lat, options.lon)
    )
    folder = options.out or settings.data_folder / "explanations"
    print(Explanations(folder).write(dataset, cell, origin.reference_time))


if __name__ == "__main__":
    main()
