"""GRIB2 files: every packing, every order of points, several fields a message, damage."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service import grib
from service.channels import STANDARD_GRAVITY, LevelType
from service.errors import RainpostError, TruncatedInput, UnrecognisedInput, WrongGrid
from service.fields import FieldHeader
from tests.service.sample_grib import (
    SCANS,
    Sample,
    Scan,
    joined,
    lambert,
    multi_field,
    sections,
    smooth,
    write,
)

import eccodes  # isort: skip

PACKINGS = ("grid_simple", "grid_complex", "grid_complex_spatial_differencing", "grid_jpeg", "grid_ccsds")


def messages_by_eccodes(path: Path) -> Iterator[tuple[dict[str, int], NDArray[np.float64]]]:
    """Keys and values in file order by the library's own walk, multi-field messages included."""
    eccodes.codes_grib_multi_support_on()
    try:
        with path.open("rb") as file:
            while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
                names = (
                    "discipline",
                    "parameterCategory",
                    "parameterNumber",
                    "scaledValueOfFirstFixedSurface",
                )
                keys = {name: eccodes.codes_get_long(handle, name) for name in names}
                yield keys, eccodes.codes_get_values(handle)
                eccodes.codes_release(handle)
    finally:
        eccodes.codes_grib_multi_support_off()


def only(path: Path) -> FieldHeader:
    """The header of a file of one field."""
    (header,) = grib.scan(path)
    return header


@pytest.mark.parametrize("scan", SCANS, ids=str)
@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_and_order_of_points_gives_the_field_that_was_written(
    tmp_path: Path, packing: str, scan: Scan
) -> None:
    values = smooth(1)
    for holes in (False, True):
        written = values.copy()
        if holes:
            written[2, 3], written[0, 0], written[-1, 5] = np.nan, np.nan, np.nan
        path = write(tmp_path / "field.grib2", Sample(written, packing=packing, scan=scan))
        header = only(path)
        read = grib.read(header)
        assert read.dtype == np.float32
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(np.isnan(read), np.isnan(written))
        np.testing.assert_allclose(read, written, rtol=0, atol=0.51 * header.packing_step + 3e-5)
        assert 0 < header.packing_step < 1e-3


@pytest.mark.parametrize("scan", SCANS, ids=str)
def test_points_lie_where_proj_puts_them(tmp_path: Path, scan: Scan) -> None:
    header = only(write(tmp_path / "field.grib2", Sample(smooth(), scan=scan)))
    projection, x, y = lambert()
    longitude, latitude = projection(*np.meshgrid(x, y), inverse=True)
    north, east = header.grid.latitude_longitude()
    # Positions in a header are rounded to a millionth of a degree.
    np.testing.assert_allclose(north, latitude, rtol=0, atol=2e-6)
    np.testing.assert_allclose(east, longitude, rtol=0, atol=2e-6)


ROWS_FIRST = [scan for scan in SCANS if not scan.alternating and not scan.columns_first]


@pytest.mark.parametrize(
    ("grid_type", "scan"),
    [
        *product(["regular_ll", "rotated_ll"], ROWS_FIRST),
        *product(["lambert", "polar_stereographic", "mercator"], [Scan()]),
    ],
    ids=str,
)
def test_positions_of_values_are_those_of_eccodes(tmp_path: Path, grid_type: str, scan: Scan) -> None:
    values = smooth(3)
    ny, nx = values.shape
    path = write(
        tmp_path / "field.grib2", Sample(values, scan=scan, keys=_grid_keys(grid_type, scan, ny, nx))
    )
    header = only(path)
    with path.open("rb") as file:
        handle = eccodes.codes_grib_new_from_file(file)
        latitude, longitude, points = (
            eccodes.codes_get_array(handle, name) for name in ("latitudes", "longitudes", "values")
        )
        eccodes.codes_release(handle)
    north, east = header.grid.latitude_longitude()
    ours, theirs = np.argsort(grib.read(header), axis=None), np.argsort(points)
    np.testing.assert_allclose(north.ravel()[ours], latitude[theirs], rtol=0, atol=2e-6)
    np.testing.assert_allclose(np.mod(east.ravel()[ours], 360.0), longitude[theirs], rtol=0, atol=2e-6)
    if grid_type != "rotated_ll":
        # West to east and south to north, whatever the order in the file.
        assert (np.diff(east, axis=1) > 0).all()
        assert (np.diff(north, axis=0) > 0).all()


@pytest.mark.parametrize("grid_type", ["polar_stereographic", "mercator"])
def test_an_order_that_eccodes_would_misplace_is_refused(tmp_path: Path, grid_type: str) -> None:
    for scan in SCANS[:1] + SCANS[2:]:
        if scan != Scan():
            keys = _grid_keys(grid_type, scan, 7, 9)
            path = write(tmp_path / "field.grib2", Sample(smooth(), scan=scan, keys=keys))
            with pytest.raises(WrongGrid, match="scanning mode"):
                grib.scan(path)


def _grid_keys(grid_type: str, scan: Scan, ny: int, nx: int) -> dict[str, int | float | str]:
    if grid_type == "lambert":
        return {}
    south, north, west, east = 30.0, 30.0 + 0.5 * (ny - 1), 120.0, 120.0 + 0.25 * (nx - 1)
    first = {
        "latitudeOfFirstGridPointInDegrees": south if scan.y_increases else north,
        "longitudeOfFirstGridPointInDegrees": east if scan.x_decreases else west,
    }
    last = {
        "latitudeOfLastGridPointInDegrees": north if scan.y_increases else south,
        "longitudeOfLastGridPointInDegrees": west if scan.x_decreases else east,
    }
    flags = {
        "iScansNegatively": int(scan.x_decreases),
        "jScansPositively": int(scan.y_increases),
        "jPointsAreConsecutive": int(scan.columns_first),
        "alternativeRowScanning": int(scan.alternating),
    }
    head: dict[str, int | float | str] = {"gridType": grid_type, "shapeOfTheEarth": 6}
    if grid_type in {"regular_ll", "rotated_ll"}:
        steps = {"iDirectionIncrementInDegrees": 0.25, "jDirectionIncrementInDegrees": 0.5}
        return head | {"Ni": nx, "Nj": ny} | first | last | steps | flags
    if grid_type == "mercator":
        steps = {"DiInMetres": 20000.0, "DjInMetres": 20000.0, "LaDInDegrees": 30.0}
        return head | {"Ni": nx, "Nj": ny} | first | last | steps | flags
    steps = {
        "DxInMetres": 20000.0,
        "DyInMetres": 20000.0,
        "LaDInDegrees": 60.0,
        "orientationOfTheGridInDegrees": 121.0,
    }
    return head | {"Nx": nx, "Ny": ny} | first | steps | flags


def test_a_constant_field_takes_no_bits(tmp_path: Path) -> None:
    for packing in PACKINGS:
        path = write(tmp_path / "field.grib2", Sample(np.full((7, 9), 273.0), packing=packing))
        np.testing.assert_array_equal(grib.read(only(path)), np.full((7, 9), 273.0, np.float32))


@pytest.mark.parametrize("repeat_from", [2, 3, 4])
def test_fields_of_one_message_are_all_found(tmp_path: Path, repeat_from: int) -> None:
    samples = [
        Sample(smooth(number, -20, 20), code=(0, 2, number), surface=(103, 10)) for number in (2, 3, 10)
    ]
    joint = multi_field(*(sample.message() for sample in samples), repeat_from=repeat_from)
    path = write(tmp_path / "wind.grib2", joint, Sample(smooth(9)))
    headers = grib.scan(path)
    assert [header.quantity for header in headers] == [
        "eastward_wind",
        "northward_wind",
        "0-2-10",
        "temperature",
    ]
    assert headers[1].label == "wind.grib2 [message 1 field 2 byte 0]"
    for header, sample in zip(headers, [*samples, Sample(smooth(9))], strict=True):
        if not header.quantity.startswith("0"):
            np.testing.assert_allclose(grib.read(header), sample.values, rtol=0, atol=1e-4)


def test_a_bitmap_serves_the_fields_after_it(tmp_path: Path) -> None:
    first, second = smooth(1), smooth(2)
    first[1, 1] = second[1, 1] = np.nan
    messages = [Sample(first, code=(0, 2, 2)).message(), Sample(second, code=(0, 2, 3)).message()]
    parts = [octets for _, octets in sections(messages[0])]
    for number, octets in sections(messages[1]):
        if number >= 4:
            # "As defined before in this message", code table 6.0.
            parts.append(b"\0\0\0\x06\x06\xfe" if number == 6 else octets)
    path = write(tmp_path / "wind.grib2", joined(0, parts))
    for header, written in zip(grib.scan(path), (first, second), strict=True):
        np.testing.assert_allclose(grib.read(header), written, rtol=0, atol=1e-4)


def test_geopotential_becomes_height(tmp_path: Path) -> None:
    geopotential = smooth(1, 54000.0, 56000.0)
    header = only(write(tmp_path / "z.grib2", Sample(geopotential, code=(0, 3, 4), surface=(100, 50000))))
    assert (header.quantity, header.unit, header.level_type) == (
        "geopotential_height",
        "m",
        LevelType.ISOBARIC,
    )
    np.testing.assert_allclose(grib.read(header), geopotential / STANDARD_GRAVITY, rtol=1e-6)
    assert header.packing_step == pytest.approx(
        2.0 ** round(np.log2(2000 / 2**20)) / STANDARD_GRAVITY, rel=1.01
    )


def test_headings_and_padding_between_messages_are_passed_over(tmp_path: Path) -> None:
    heading = b"\x01\r\r\n123\r\r\nYXAA85 RKSL 091800\r\r\n"
    message = Sample(smooth()).message()
    path = tmp_path / "bulletins.grib2"
    for end in (b"", b"\r\r\n\x03", b"\0" * 100, b"G"):
        path.write_bytes(heading + message + b"\r\r\n\x03" + heading + message + end)
        assert len(grib.scan(path)) == 2


def test_bytes_after_the_last_message_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "field.grib2", Sample(smooth()), b"and then something else")
    with pytest.raises(UnrecognisedInput, match="no GRIB message"):
        grib.scan(path)


def test_edition_1_is_refused_by_name(tmp_path: Path) -> None:
    handle = eccodes.codes_grib_new_from_samples("GRIB1")
    path = write(tmp_path / "old.grib", eccodes.codes_get_message(handle))
    eccodes.codes_release(handle)
    with pytest.raises(UnrecognisedInput, match="edition 1"):
        grib.scan(path)


def test_a_cut_file_names_the_message_and_the_missing_bytes(tmp_path: Path) -> None:
    message = Sample(smooth()).message()
    path = write(tmp_path / "cut.grib2", message, message[:-30])
    with pytest.raises(TruncatedInput) as caught:
        grib.scan(path)
    assert caught.value.where == f"cut.grib2, message 2 at byte {len(message)}"
    assert caught.value.expected.startswith(f"{len(message)} bytes")
    assert caught.value.got == f"{len(message) - 30} bytes"


FIELD = multi_field(*(Sample(smooth(number, -20, 20), code=(0, 2, number)).message() for number in (2, 3)))
CUT = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@CUT
@given(offset=st.integers(1, 3 * len(FIELD) - 1))
def test_cutting_a_file_anywhere_is_noticed(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "cut.grib2"
    path.write_bytes((3 * FIELD)[:offset])
    whole, rest = divmod(offset, len(FIELD))
    # Up to three bytes of a next message are what a download by byte range leaves.
    if whole and rest < 4:
        assert len(grib.scan(path)) == 2 * whole
    else:
        with pytest.raises(RainpostError, match=r"cut\.grib2"):
            grib.scan(path)


@CUT
@given(position=st.integers(0, len(FIELD) - 1), octet=st.integers(0, 255))
def test_a_wrong_octet_is_an_error_of_ours_or_a_field(tmp_path: Path, position: int, octet: int) -> None:
    path = tmp_path / "damaged.grib2"
    path.write_bytes(FIELD[:position] + bytes((octet,)) + FIELD[position + 1 :])
    error = None
    try:
        for header in grib.scan(path):
            assert grib.read(header).shape == header.grid.shape
    except RainpostError as caught:
        error = caught
    assert error is None or "damaged.grib2" in error.where


def test_threads_read_what_one_thread_reads(tmp_path: Path) -> None:
    samples = [Sample(smooth(seed), packing=packing) for packing, seed in product(PACKINGS, range(4))]
    headers = grib.scan(write(tmp_path / "fields.grib2", *samples))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(grib.read, headers * 5))
    for values, header in zip(together, headers * 5, strict=True):
        np.testing.assert_array_equal(values, grib.read(header))


def test_nothing_is_written_beside_the_data(tmp_path: Path) -> None:
    path = write(tmp_path / "field.grib2", Sample(smooth()))
    grib.read(only(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["field.grib2"]


def test_the_multi_field_file_of_the_eta_model_reads_as_eccodes_reads_it(real_data: Path) -> None:
    path = real_data / "grib2_lambert" / "eta_2004120812_f024_awip211.grib2"
    headers = grib.scan(path)
    theirs = list(messages_by_eccodes(path))
    assert len(headers) == len(theirs) == 181
    for header, (keys, points) in zip(headers, theirs, strict=True):
        # Rows run from south to north in this file, so that its order is ours.
        code = f"{keys['discipline']}-{keys['parameterCategory']}-{keys['parameterNumber']}"
        assert header.quantity == code or not header.quantity.startswith(code[0])
        if not header.quantity[0].isdigit():
            np.testing.assert_array_equal(grib.read(header), points.reshape(65, 93).astype(np.float32))
    winds = [header for header in headers if header.quantity in {"eastward_wind", "northward_wind"}]
    assert len(winds) > 20
    assert all(header.grid_relative_winds for header in winds)
    assert sum(header.quantity == "northward_wind" for header in winds) == len(winds) / 2


def test_two_accumulations_of_one_file_keep_their_ranges(real_data: Path) -> None:
    headers = grib.scan(real_data / "grib2_lambert" / "hrrr_2020121400_f012_apcp.grib2")
    assert [(header.quantity, header.lead_start_hours, header.lead_hours) for header in headers] == [
        ("precipitation", 0.0, 12.0),
        ("precipitation", 11.0, 12.0),
    ]
    assert headers[0].grid == headers[1].grid
    assert headers[0].grid.shape == (1059, 1799)


def test_replacing_the_file_between_scan_and_read_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "field.grib2", Sample(smooth()), Sample(smooth(1)))
    headers = grib.scan(path)
    write(path, Sample(smooth()))
    with pytest.raises(TruncatedInput):
        grib.read(headers[1])
    write(path, replace(Sample(smooth()), bits=12), Sample(smooth(1)))
    with pytest.raises(TruncatedInput, match="hold together"):
        grib.read(headers[1])


def test_missing_values_inside_complex_packing_need_no_bitmap(tmp_path: Path) -> None:
    """With missing value management 1 the largest number of a group means that there is no value."""
    values = smooth(1, ny=60, nx=60)
    parts = sections(Sample(values, packing="grid_complex_spatial_differencing", bits=6).message())
    managed = [octets[:22] + b"\x01" + octets[23:] if number == 5 else octets for number, octets in parts]
    path = write(tmp_path / "field.grib2", joined(0, managed))
    with path.open("rb") as file:
        handle = eccodes.codes_grib_new_from_file(file)
        theirs = eccodes.codes_get_values(handle).reshape(60, 60)
        missing = theirs == eccodes.codes_get_double(handle, "missingValue")
        eccodes.codes_release(handle)
    assert 0 < missing.sum() < missing.size
    read = grib.read(only(path))
    np.testing.assert_array_equal(np.isnan(read), missing)
    np.testing.assert_array_equal(read[~missing], theirs[~missing].astype(np.float32))
