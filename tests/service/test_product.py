"""The product: CF, complete, honest about what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from service.errors import InferenceError, MissingLead, MissingValues, OutsideGrid
from service.grids import grid_from_definition
from service.product import (
    EXCEEDANCE,
    NO_CLASS,
    RAW_PRECIPITATION,
    SUM_TOLERANCE,
    build_product,
    point,
    write_product,
)
from service.product_coordinates import product_grid
from service.specification import GridDefinition
from tests.service.sample_product import (
    DEGREES,
    PROVENANCE,
    REFERENCE_TIME,
    WINDOW,
    sample_cycle,
    sample_manifest,
    sample_probabilities,
    sample_product,
)
from tests.service.test_grids import QPE

GRIDS = pytest.mark.parametrize("target", [QPE, DEGREES], ids=["Lambert", "latitude-longitude"])


def _reread(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    write_product(dataset, path)
    with xr.open_dataset(path) as reread:
        return reread.load()


def _without_lead_26() -> xr.Dataset:
    return build_product(sample_cycle((25, 27)), sample_probabilities(2), sample_manifest(), PROVENANCE)


@GRIDS
@pytest.mark.parametrize("whole", [True, False], ids=["all leads", "a lead missing"])
def test_passes_the_compliance_checker(target: GridDefinition, whole: bool, tmp_path: Path) -> None:
    """Not even a warning, by the strictest criteria."""
    write_product(sample_product(target) if whole else _without_lead_26(), tmp_path / "product.nc")
    subprocess.run(
        [
            "compliance-checker",
            "--test=cf:1.11",
            "--criteria=strict",
            "--format=json",
            "--output=report.json",
            "product.nc",
        ],
        executable=Path(sys.executable).parent / "compliance-checker",
        cwd=tmp_path,
        check=False,
        capture_output=True,
    )
    report = json.loads((tmp_path / "report.json").read_text())["cf:1.11"]
    assert report["scored_points"] > 100
    findings = [
        (check["name"], check["msgs"])
        for priority in ("high_priorities", "medium_priorities", "low_priorities")
        for check in report[priority]
        if check["value"][0] != check["value"][1]
    ]
    assert findings == []


def test_times_are_decoded(tmp_path: Path) -> None:
    dataset = _reread(sample_product(), tmp_path / "product.nc")
    assert dataset["forecast_reference_time"].values == REFERENCE_TIME
    expected = REFERENCE_TIME + np.array([25, 26, 27]) * np.timedelta64(3600, "s")
    np.testing.assert_array_equal(dataset["time"].values, expected)
    np.testing.assert_array_equal(dataset["time_bounds"].values[:, 1], expected)
    np.testing.assert_array_equal(dataset["time_bounds"].values[:, 0], expected - np.timedelta64(3600, "s"))
    np.testing.assert_array_equal(dataset["forecast_period"].values, [25, 26, 27])
    np.testing.assert_array_equal(dataset["lead"].values, [25, 26, 27])


def test_bounds_span_the_period_of_the_manifest() -> None:
    manifest = sample_manifest(precipitation_hours=12)
    dataset = build_product(sample_cycle(), sample_probabilities(), manifest, PROVENANCE)
    start, end = dataset["time_bounds"].values.T
    np.testing.assert_array_equal(end - start, np.timedelta64(12 * 3600, "s"))


def test_dimensions_are_those_of_the_contract(tmp_path: Path) -> None:
    dataset = _reread(sample_product(), tmp_path / "product.nc")
    assert dataset["class_probability"].dims == ("lead", "class", "y", "x")
    assert dataset[EXCEEDANCE].dims == ("threshold", "lead", "y", "x")
    assert EXCEEDANCE == "probability_of_lwe_thickness_of_precipitation_amount_above_threshold"
    assert dataset["most_likely_class"].dims == dataset[RAW_PRECIPITATION].dims == ("lead", "y", "x")
    assert dataset["class_probability"].dtype == np.float32
    assert dataset["class_name"].values.tolist() == ["no_rain", "rain", "heavy_rain"]
    np.testing.assert_array_equal(dataset["threshold"].values, [0.1, 10.0])
    assert dataset.attrs["Conventions"] == "CF-1.11"


def test_values_survive_the_file_bit_for_bit(tmp_path: Path) -> None:
    dataset = _reread(sample_product(), tmp_path / "product.nc")
    probabilities = sample_probabilities()
    np.testing.assert_array_equal(dataset["class_probability"].values, probabilities)
    np.testing.assert_array_equal(dataset[RAW_PRECIPITATION].values, sample_cycle().values[:, 1])
    np.testing.assert_array_equal(dataset["most_likely_class"].values, probabilities.argmax(axis=1))
    assert dataset["most_likely_class"].values[0, 0, :2].tolist() == [1, 0]
    np.testing.assert_allclose(
        dataset[EXCEEDANCE].values[0], 1.0 - probabilities[:, 0].astype(np.float64), rtol=0, atol=2e-7
    )
    np.testing.assert_array_equal(dataset[EXCEEDANCE].values[1], probabilities[:, 2])
    sums = dataset["class_probability"].values.sum(axis=1, dtype=np.float64)
    assert np.abs(sums - 1.0).max() <= SUM_TOLERANCE
    assert dataset[EXCEEDANCE].values.max() <= 1.0
    assert (dataset["lead_status"].values == 1).all()


@GRIDS
def test_positions_are_those_of_the_window(target: GridDefinition, tmp_path: Path) -> None:
    dataset = _reread(sample_product(target), tmp_path / "product.nc")
    grid = grid_from_definition(target, WINDOW)
    latitude, longitude = grid.latitude_longitude()
    np.testing.assert_array_equal(dataset["latitude"].values, latitude)
    np.testing.assert_array_equal(dataset["longitude"].values, longitude)
    again = product_grid(dataset).latitude_longitude()
    np.testing.assert_allclose(again, (latitude, longitude), rtol=0, atol=1e-9)


def test_a_missing_lead_is_fill_values_and_a_flag_and_never_zeros(tmp_path: Path) -> None:
    write_product(_without_lead_26(), tmp_path / "product.nc")
    with netCDF4.Dataset(tmp_path / "product.nc") as stored:
        for name in ("class_probability", RAW_PRECIPITATION, "most_likely_class"):
            assert stored[name][1].mask.all(), name
            assert not np.ma.getmaskarray(stored[name][[0, 2]]).any(), name
        assert stored[EXCEEDANCE][:, 1].mask.all()
        assert not np.ma.getmaskarray(stored[EXCEEDANCE][:, [0, 2]]).any()
        stored["most_likely_class"].set_auto_mask(False)
        assert (stored["most_likely_class"][1] == NO_CLASS).all()
        assert stored["lead_status"][:].tolist() == [1, 0, 1]
        assert stored["lead_status"].flag_meanings.split() == ["missing", "present"]
        assert stored.getncattr("leads_present").tolist() == [25, 27]
        np.testing.assert_array_equal(stored["class_probability"][2], sample_probabilities(2)[1])
        np.testing.assert_array_equal(stored[RAW_PRECIPITATION][2], sample_cycle((25, 27)).values[1, 1])


def test_provenance_is_in_the_file(tmp_path: Path) -> None:
    attributes = _reread(sample_product(), tmp_path / "product.nc").attrs
    assert attributes["model_name"] == "sample"
    assert attributes["model_version"] == "1.2.3"
    assert attributes["model_sha256"] == "a1" * 32
    assert attributes["manifest_sha256"] == "b2" * 32
    assert attributes["input_sha256"].splitlines() == [
        f"{'c3' * 32}  rdaps h025.gb2",
        f"{'d4' * 32}  rdaps_h026.gb2",
    ]
    assert attributes["code_version"] == "0.1.0"
    assert attributes["execution_provider"] == "CPUExecutionProvider"
    assert attributes["revision"] == 3
    assert attributes["leads_present"].tolist() == [25, 26, 27]
    assert attributes["date_created"] == "2026-07-15T03:04:05Z"
    assert attributes["history"].startswith("2026-07-15T03:04:05Z rainpost 0.1.0")
    assert "sample-1.2.3" in attributes["source"]
    assert "RDAPS-KIM" in attributes["source"]
    assert "featureType" not in attributes
    assert "institution" not in attributes


def test_simulated_training_is_said_and_real_training_is_not_called_simulated() -> None:
    told = sample_product().attrs
    assert told["training_simulated"] == "true"
    assert "simulated data" in told["comment"]
    assert told["training_statement"] == "Trained on nothing at all."
    manifest = sample_manifest(simulated=False)
    real = build_product(sample_cycle(), sample_probabilities(), manifest, PROVENANCE).attrs
    assert real["training_simulated"] == "false"
    assert "simulated" not in real["comment"]


def test_institution_is_named_where_it_is_known() -> None:
    provenance = replace(PROVENANCE, institution="A weather service")
    dataset = build_product(sample_cycle(), sample_probabilities(), sample_manifest(), provenance)
    assert dataset.attrs["institution"] == "A weather service"


def test_tuned_decisions_stand_beside_their_thresholds() -> None:
    attributes = sample_product()[EXCEEDANCE].attrs
    assert attributes["decision_probability"] == [0.375, 0.125]


def test_equal_products_have_equal_bytes_apart_from_their_time(tmp_path: Path) -> None:
    write_product(sample_product(), tmp_path / "one.nc")
    write_product(sample_product(), tmp_path / "two.nc")
    assert (tmp_path / "one.nc").read_bytes() == (tmp_path / "two.nc").read_bytes()
    later = replace(PROVENANCE, created=datetime(2027, 1, 1, tzinfo=UTC))
    other = build_product(sample_cycle(), sample_probabilities(), sample_manifest(), later)
    differing = {name for name, value in other.attrs.items() if np.any(value != sample_product().attrs[name])}
    assert differing == {"date_created", "history"}


def test_a_lead_is_a_chunk_and_compressed(tmp_path: Path) -> None:
    write_product(sample_product(), tmp_path / "product.nc")
    with netCDF4.Dataset(tmp_path / "product.nc") as stored:
        assert stored["class_probability"].chunking() == [1, 1, WINDOW.ny, WINDOW.nx]
        assert stored["class_probability"].filters()["zlib"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.2, 0.5])
def test_what_is_no_probability_is_refused(bad: float) -> None:
    probabilities = sample_probabilities()
    probabilities[1, 2, 3, 4] = bad
    if bad == 0.5:  # possible one by one, with a sum that is off
        probabilities[1, :, 3, 4] = np.array([0.25, 0.25, 0.5 + 4 * SUM_TOLERANCE], np.float32)
    with pytest.raises(InferenceError, match="lead 26 h, row 3, column 4; 1 cells"):
        build_product(sample_cycle(), probabilities, sample_manifest(), PROVENANCE)


@pytest.mark.parametrize(
    "probabilities",
    [
        sample_probabilities(2),
        sample_probabilities()[:, :2],
        sample_probabilities()[:, :, :, :-1],
        sample_probabilities().astype(np.float64),
    ],
    ids=["lead", "class", "x", "dtype"],
)
def test_another_shape_or_type_is_refused(probabilities: NDArray[np.float32]) -> None:
    with pytest.raises(InferenceError, match=r"\(3, 3, 30, 20\)"):
        build_product(sample_cycle(), probabilities, sample_manifest(), PROVENANCE)


def test_leads_must_be_the_models() -> None:
    with pytest.raises(InferenceError, match="28"):
        build_product(sample_cycle((27, 28)), sample_probabilities(2), sample_manifest(), PROVENANCE)
    with pytest.raises(MissingLead):
        build_product(sample_cycle(()), sample_probabilities(0), sample_manifest(), PROVENANCE)


def test_holes_in_the_raw_rain_are_refused() -> None:
    cycle = sample_cycle()
    cycle.values[0, 1, 2, 3] = np.nan
    with pytest.raises(MissingValues, match="raw rain"):
        build_product(cycle, sample_probabilities(), sample_manifest(), PROVENANCE)


@GRIDS
def test_point_is_the_nearest_cell(target: GridDefinition, tmp_path: Path) -> None:
    dataset = _reread(sample_product(target), tmp_path / "product.nc")
    latitude, longitude = (dataset[name].values for name in ("latitude", "longitude"))
    row, column = 7, 11
    near = 0.6 * latitude[row, column] + 0.4 * latitude[row + 1, column]
    answer = point(dataset, float(near), float(longitude[row, column]) + 360.0)
    assert (answer["cell"]["row"], answer["cell"]["column"]) == (row, column)
    assert answer["cell"]["latitude"] == pytest.approx(latitude[row, column], abs=1e-5)
    assert answer["reference_time"] == "2026-07-14T18:00:00Z"
    assert answer["model"] == {"name": "sample", "version": "1.2.3"}
    assert answer["trained_on_simulated_data"] is True
    assert json.loads(json.dumps(answer)) == answer

    assert [lead["lead_hours"] for lead in answer["leads"]] == [25, 26, 27]
    probabilities = sample_probabilities()[:, :, row, column]
    for lead, expected, raw_mm in zip(
        answer["leads"], probabilities, sample_cycle().values[:, 1, row, column], strict=True
    ):
        assert lead["status"] == "present"
        assert list(lead["probabilities"]) == ["no_rain", "rain", "heavy_rain"]
        np.testing.assert_allclose(list(lead["probabilities"].values()), expected, rtol=0, atol=1e-6)
        assert lead["most_likely_class"] == ["no_rain", "rain", "heavy_rain"][expected.argmax()]
        assert lead["raw_precipitation_mm"] == pytest.approx(float(raw_mm), abs=1e-3)
        above = [(one["threshold_mm"], one["probability"]) for one in lead["exceedance_probabilities"]]
        np.testing.assert_allclose(
            above, [(0.1, expected[1] + expected[2]), (10.0, expected[2])], rtol=0, atol=1e-6
        )
    assert answer["leads"][0]["period_start"] == "2026-07-15T18:00:00Z"
    assert answer["leads"][0]["valid_time"] == "2026-07-15T19:00:00Z"


def test_point_of_a_missing_lead_is_null(tmp_path: Path) -> None:
    for dataset in (_without_lead_26(), _reread(_without_lead_26(), tmp_path / "product.nc")):
        answer = point(dataset, 35.2, 126.0)
        missing = answer["leads"][1]
        assert missing["status"] == "missing"
        names = ("probabilities", "exceedance_probabilities", "most_likely_class", "raw_precipitation_mm")
        assert all(missing[name] is None for name in names)
        assert missing["valid_time"] == "2026-07-15T20:00:00Z"
        assert [lead["status"] for lead in answer["leads"]] == ["present", "missing", "present"]


@GRIDS
def test_a_point_belongs_to_the_product_up_to_the_rim_of_its_cells(target: GridDefinition) -> None:
    dataset = sample_product(target)
    latitude, longitude = (dataset[name].values for name in ("latitude", "longitude"))
    rim = latitude[0, 5] - 0.49 * (latitude[1, 5] - latitude[0, 5])
    beyond = latitude[0, 5] - 0.55 * (latitude[1, 5] - latitude[0, 5])
    assert point(dataset, float(rim), float(longitude[0, 5]))["cell"]["row"] == 0
    with pytest.raises(OutsideGrid, match="outside the product"):
        point(dataset, float(beyond), float(longitude[0, 5]))
    with pytest.raises(OutsideGrid, match=r"51\.5000 N -0\.1000 E"):
        point(dataset, 51.5, -0.1)
