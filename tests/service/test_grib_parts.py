"""Parts of fields: the same bits as eccodes' full decoding, whatever the packing, the order and the holes."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import repeat
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service import grib, openjpeg
from service.errors import RainpostError, TruncatedInput
from service.fields import FieldHeader, Region, Values
from service.grib_grids import scanning
from service.grib_messages import GRID, Octets, message
from service.grib_parts import LARGEST_SHARE, part_of_values
from tests.service.sample_grib import SCANS, Sample, joined, sections, smooth, write

import eccodes  # isort: skip

Doubles = NDArray[np.float64]

PLAIN = ("grid_simple", "grid_jpeg")
OTHERS = ("grid_complex", "grid_complex_spatial_differencing", "grid_ccsds")
PROPERTY = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass(frozen=True)
class Counted:
    """A field read in part, and how it was decoded."""

    values: Values
    whole_decodings: int


def read_part(header: FieldHeader, region: Region) -> Counted:
    """``grib.read``, with eccodes' decoding counted."""
    with patch.object(grib, "_decode", wraps=grib._decode) as decode:
        return Counted(grib.read(header, region), decode.call_count)


def before_rounding(path: Path, region: Region) -> tuple[Doubles | None, Doubles]:
    """A region of the first field in float64: out of its packed values, and out of eccodes' decoding."""
    with path.open("rb") as file:
        octets = Octets(file)
        found = message(octets, path.name, 0, 1)
        order = scanning(octets.section(found.fields[0][GRID]), path.name)
        return (
            part_of_values(octets, found.fields[0], order, region),
            grib._decoded(octets, found, found.fields[0], order, region, path.name),
        )


def same_bits(one: Values | Doubles, other: Values | Doubles) -> bool:
    """NaN equals NaN, and 0 does not equal -0."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def scaled(content: bytes, reference: float, binary: int, decimal: int) -> bytes:
    """The same packed integers under another scaling."""
    parts = []
    for number, octets in sections(content):
        if number == 5:
            scales = b"".join(
                (abs(scale) | (0x8000 if scale < 0 else 0)).to_bytes(2, "big") for scale in (binary, decimal)
            )
            octets = octets[:11] + struct.pack(">f", reference) + scales + octets[19:]  # noqa: PLW2901
        parts.append(octets)
    return joined(content[6], parts)


@st.composite
def regions(draw: st.DrawFn, ny: int, nx: int) -> Region:
    """One point to all of them."""
    top, left = draw(st.integers(0, ny - 1)), draw(st.integers(0, nx - 1))
    return Region(slice(top, draw(st.integers(top + 1, ny))), slice(left, draw(st.integers(left + 1, nx))))


@st.composite
def fields(draw: st.DrawFn, packings: tuple[str, ...]) -> tuple[Sample, tuple[float, int, int] | None]:
    """A field of few points, and perhaps another scaling of it."""
    ny, nx = draw(st.integers(2, 23)), draw(st.integers(2, 23))
    values = smooth(draw(st.integers(0, 99)), ny=ny, nx=nx)
    for hole in draw(st.lists(st.integers(0, ny * nx - 1), max_size=8)):
        values.ravel()[hole] = np.nan
    packing = draw(st.sampled_from(packings))
    # The JPEG encoder of eccodes takes up to 24 bits.
    bits = draw(st.integers(0, 32 if packing == "grid_simple" else 24))
    sample = Sample(values, packing=packing, bits=bits, scan=draw(st.sampled_from(SCANS)))
    scaling = st.tuples(st.floats(-1e5, 1e5, width=32), st.integers(-30, 30), st.integers(-12, 12))
    return sample, draw(st.none() | scaling)


@PROPERTY
@given(data=st.data(), field=fields(PLAIN))
def test_a_part_has_the_bits_of_the_whole(
    tmp_path: Path, data: st.DataObject, field: tuple[Sample, tuple[float, int, int] | None]
) -> None:
    sample, scaling = field
    content = sample.message() if scaling is None else scaled(sample.message(), *scaling)
    path = write(tmp_path / "field.grib2", content)
    (header,) = grib.scan(path)
    region = data.draw(regions(*sample.values.shape))
    doubles, all_doubles = before_rounding(path, region)
    assert doubles is None or same_bits(doubles, all_doubles)
    part, whole = read_part(header, region), grib.read(header)
    assert same_bits(part.values, np.ascontiguousarray(whole[region.rows, region.columns]))
    points = region.shape[0] * region.shape[1]
    some = np.isfinite(sample.values).any()
    assert part.whole_decodings == (points > LARGEST_SHARE * sample.values.size or not some)


@settings(PROPERTY, max_examples=60)
@given(data=st.data(), field=fields(OTHERS))
def test_other_packings_are_decoded_whole_and_cut(
    tmp_path: Path, data: st.DataObject, field: tuple[Sample, tuple[float, int, int] | None]
) -> None:
    sample, _ = field
    (header,) = grib.scan(write(tmp_path / "field.grib2", sample))
    region = data.draw(regions(*sample.values.shape))
    part, whole = read_part(header, region), grib.read(header)
    assert same_bits(part.values, np.ascontiguousarray(whole[region.rows, region.columns]))


@settings(PROPERTY, max_examples=20)
@given(data=st.data(), seed=st.integers(0, 99), rough=st.booleans())
def test_an_area_of_an_image_of_many_code_blocks_has_the_bits_of_the_whole(
    tmp_path: Path, data: st.DataObject, seed: int, rough: bool
) -> None:
    """Code blocks of 64 x 64 and five wavelet levels: what lies around an area reaches into it."""
    ny, nx = 150, 210
    y, x = np.mgrid[0:ny, 0:nx] / 40.0
    waves = np.sin(x + seed) * np.cos(y * (1.0 + seed / 50.0))
    values = smooth(seed, ny=ny, nx=nx) if rough else 280.0 + 10.0 * waves
    path = write(tmp_path / "field.grib2", Sample(values, packing="grid_jpeg", bits=16))
    (header,) = grib.scan(path)
    region = data.draw(regions(ny, nx).filter(lambda one: one.shape[0] * one.shape[1] < ny * nx // 2))
    part, whole = read_part(header, region), grib.read(header)
    assert part.whole_decodings == 0
    assert same_bits(part.values, np.ascontiguousarray(whole[region.rows, region.columns]))


CORNER = Region(slice(2, 4), slice(3, 6))


def assert_declined(path: Path, index: int = 0) -> None:
    """A part of a field is cut out of the whole, and is the same."""
    header = grib.scan(path)[index]
    part = read_part(header, CORNER)
    assert part.whole_decodings == 1
    whole = grib.read(header)[CORNER.rows, CORNER.columns]
    assert same_bits(part.values, np.ascontiguousarray(whole))


def test_an_image_of_floating_point_wavelets_is_decoded_whole(tmp_path: Path) -> None:
    """Their rounding may depend on how much is decoded."""
    numbers = np.round(smooth(low=0, high=65535, ny=40, nx=50)).astype(np.uint16)
    for irreversible in (True, False):
        stream = BytesIO()
        Image.fromarray(numbers).save(stream, "JPEG2000", no_jp2=True, irreversible=irreversible)
        codestream = stream.getvalue()
        found = openjpeg.image(codestream[:512])
        assert found == openjpeg.Image(40, 50, reversible=not irreversible)
        sample = Sample(numbers.astype(np.float64), packing="grid_jpeg", bits=16)
        parts = [
            (5 + len(codestream)).to_bytes(4, "big") + b"\x07" + codestream if number == 7 else octets
            for number, octets in sections(sample.message())
        ]
        path = write(tmp_path / "field.grib2", joined(0, parts))
        if irreversible:
            assert_declined(path)
        else:
            part = read_part(grib.scan(path)[0], CORNER)
            assert part.whole_decodings == 0
            np.testing.assert_array_equal(part.values, numbers[CORNER.rows, CORNER.columns])


def test_an_image_cut_to_a_size_has_the_bits_of_the_whole(tmp_path: Path) -> None:
    """What eccodes calls lossy: whole-number wavelets of which the last bit planes are left out."""
    sample = Sample(smooth(ny=150, nx=210), packing="grid_jpeg", bits=16)
    handle = eccodes.codes_new_from_message(sample.message())
    values = eccodes.codes_get_values(handle)
    eccodes.codes_set(handle, "typeOfCompressionUsed", 1)
    eccodes.codes_set(handle, "targetCompressionRatio", 4)
    eccodes.codes_set_values(handle, values)
    content = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    assert len(content) < len(sample.message()) / 2
    (header,) = grib.scan(write(tmp_path / "field.grib2", content))
    for region in (CORNER, Region(slice(60, 130), slice(100, 180))):
        part = read_part(header, region)
        assert part.whole_decodings == 0
        whole = grib.read(header)[region.rows, region.columns]
        assert same_bits(part.values, np.ascontiguousarray(whole))


def test_without_the_library_of_eccodes_images_are_decoded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "field.grib2", Sample(smooth(), packing="grid_jpeg"))
    monkeypatch.setattr(openjpeg, "_library", lambda: None)
    assert_declined(path)


@pytest.mark.parametrize("scaling", [(np.inf, 0, 0), (1.0, 101, 0), (1.0, 0, -101)])
def test_numbers_beyond_all_use_are_left_to_eccodes(tmp_path: Path, scaling: tuple[float, int, int]) -> None:
    content = scaled(Sample(smooth()).message(), *scaling)
    (header,) = grib.scan(write(tmp_path / "field.grib2", content))
    with np.errstate(all="ignore"):
        assert read_part(header, CORNER).whole_decodings == 1


def test_more_values_announced_than_packed_is_an_error(tmp_path: Path) -> None:
    content = Sample(smooth(), bits=16).message()
    short = [
        octets[:4] + b"\x07" + octets[5:-20] if number == 7 else octets
        for number, octets in sections(content)
    ]
    short[-1] = len(short[-1]).to_bytes(4, "big") + short[-1][4:]
    (header,) = grib.scan(write(tmp_path / "field.grib2", joined(0, short)))
    with pytest.raises(TruncatedInput):
        grib.read(header, CORNER)


def test_a_bitmap_that_does_not_fit_the_values_is_left_to_eccodes(tmp_path: Path) -> None:
    values = smooth()
    values[5, 5] = np.nan
    parts = [
        octets[:6] + bytes((octets[6] ^ 0x80,)) + octets[7:] if number == 6 else octets
        for number, octets in sections(Sample(values).message())
    ]
    (header,) = grib.scan(write(tmp_path / "field.grib2", joined(0, parts)))
    with patch.object(grib, "_decode", side_effect=TruncatedInput("whole")), pytest.raises(TruncatedInput):
        grib.read(header, CORNER)


def test_a_bitmap_serves_the_parts_of_fields_after_it(tmp_path: Path) -> None:
    first, second = smooth(1), smooth(2)
    first[2, 4] = second[2, 4] = np.nan
    messages = [Sample(first, code=(0, 2, 2)).message(), Sample(second, code=(0, 2, 3)).message()]
    parts = [octets for _, octets in sections(messages[0])]
    for number, octets in sections(messages[1]):
        if number >= 4:
            # "As defined before in this message", code table 6.0.
            parts.append(b"\0\0\0\x06\x06\xfe" if number == 6 else octets)
    for header in grib.scan(write(tmp_path / "wind.grib2", joined(0, parts))):
        part = read_part(header, CORNER)
        assert part.whole_decodings == 0
        assert np.isnan(part.values[0, 1])
        whole = grib.read(header)[CORNER.rows, CORNER.columns]
        assert same_bits(part.values, np.ascontiguousarray(whole))


@settings(PROPERTY, max_examples=150)
@given(data=st.data(), packing=st.sampled_from(PLAIN), octet=st.integers(0, 255))
def test_a_wrong_octet_is_an_error_of_ours_or_a_part(
    tmp_path: Path, data: st.DataObject, packing: str, octet: int
) -> None:
    values = smooth()
    values[0, 0] = np.nan
    content = Sample(values, packing=packing).message()
    position = data.draw(st.integers(16, len(content) - 5))
    path = write(tmp_path / "damaged.grib2", content[:position] + bytes((octet,)) + content[position + 1 :])
    error = None
    try:
        for header in grib.scan(path):
            with np.errstate(all="ignore"):
                assert grib.read(header, CORNER).shape == CORNER.shape
    except RainpostError as caught:
        error = caught
    assert error is None or "damaged.grib2" in error.where


def test_threads_read_the_parts_that_one_thread_reads(tmp_path: Path) -> None:
    samples = [Sample(smooth(seed, ny=70, nx=90), packing=packing) for seed in range(6) for packing in PLAIN]
    headers = grib.scan(write(tmp_path / "fields.grib2", *samples))
    region = Region(slice(11, 40), slice(23, 50))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(grib.read, headers * 5, repeat(region)))
    for values, header in zip(together, headers * 5, strict=True):
        assert same_bits(values, grib.read(header, region))
