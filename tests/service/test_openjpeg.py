"""OpenJPEG: what the main header says, areas, and what is not decoded."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture

from service import openjpeg
from service.openjpeg import Area, Image
from tests.service.sample_grib import smooth

NY, NX = 90, 130
PIXELS = np.round(smooth(low=0, high=65535, ny=NY, nx=NX)).astype(np.uint16)
OCTETS = PIXELS.astype(np.uint8)


def encoded(pixels: NDArray[np.uint8] | NDArray[np.uint16] = PIXELS, **options: object) -> bytes:
    """A codestream by Pillow's encoder."""
    stream = BytesIO()
    Picture.fromarray(pixels).save(stream, "JPEG2000", no_jp2=True, irreversible=False, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "options",
    [{}, {"num_resolutions": 1}, {"tile_size": (50, 40)}, {"tile_size": (50, 40), "offset": (3, 5)}],
)
@pytest.mark.parametrize("area", [Area(0, 0, NY, NX), Area(0, 0, 1, 1), Area(17, 33, 71, 129)], ids=str)
def test_an_area_is_that_of_the_image(options: dict[str, object], area: Area) -> None:
    # Pillow encodes tiles of 8 bits only.
    for pixels in (OCTETS,) if "tile_size" in options else (OCTETS, PIXELS):
        codestream = encoded(pixels, **options)
        assert openjpeg.image(codestream[:512]) == Image(NY, NX, reversible=True)
        found = openjpeg.decode(codestream, area)
        np.testing.assert_array_equal(found, pixels[area.top : area.bottom, area.left : area.right])


def test_headers_that_are_cut_off_or_of_several_components_are_not_understood() -> None:
    codestream = encoded()
    main_header = codestream.index(b"\xff\x90")
    for length in (0, 2, 30, main_header - 1):
        assert openjpeg.image(codestream[:length]) is None
    assert openjpeg.image(b"\0" * 200) is None
    assert openjpeg.image(encoded(np.stack([OCTETS] * 3, axis=-1))) is None


def test_a_codestream_that_ends_early_has_no_area() -> None:
    codestream = encoded()
    for length in (0, 40, 100):
        assert openjpeg.decode(codestream[:length], Area(0, 0, NY, NX)) is None


def test_an_area_beyond_the_image_is_none() -> None:
    assert openjpeg.decode(encoded(), Area(0, 0, NY + 1, NX)) is None
    assert openjpeg.decode(encoded(), Area(NY, NX, NY + 2, NX + 2)) is None


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs the list of loaded libraries")
def test_the_library_is_the_one_that_eccodes_loads() -> None:
    """A second OpenJPEG beside it might round in another way. In a process of its own, without Pillow's."""
    program = (
        "from service import openjpeg\n"
        "assert openjpeg._library() is not None\n"
        "print({line.split()[-1] for line in open('/proc/self/maps') if 'openjp2' in line})"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    libraries = eval(result.stdout)  # noqa: S307
    assert len(libraries) == 1
    assert "eccodes" in next(iter(libraries))
