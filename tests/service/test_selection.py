"""Which fields make a cycle, and what is said of those that do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service import files
from service.channels import PRECIPITATION_CHANNEL
from service.errors import EmptyInput, MissingChannel, MissingLead, MixedCycles, WrongGrid, WrongSource
from service.fields import FieldHeader
from service.grids import LatitudeLongitudeGrid
from service.selection import Selection, select
from service.specification import CycleSpecification, Source
from tests.service.sample_assembly import SPECIFICATION, changed, rain, samples, specified, without
from tests.service.sample_grib import REFERENCE_TIME, Sample, smooth, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For the files of one test."""
    return tmp_path


def selected(
    folder: Path, messages: list[Sample], specification: CycleSpecification = SPECIFICATION
) -> Selection:
    """The selection from one file of messages."""
    return select(files.scan(write(folder / "cycle.grib2", *messages)), specification)


def test_only_what_is_asked_for_is_chosen(folder: Path) -> None:
    unwanted = [
        Sample(smooth(), surface=(100, 70000), lead_hours=25),
        Sample(smooth(), surface=(1, 0), lead_hours=25),
        Sample(smooth(), code=(0, 2, 2), surface=(103, 80), lead_hours=25),
        Sample(smooth(), code=(0, 1, 22), surface=(100, 85000), lead_hours=25),
        Sample(smooth(), surface=(100, 85000), lead_hours=27),
    ]
    selection = selected(folder, [*unwanted, *samples()])
    assert len(selection.choices) == 32
    assert len(selection.headers) == 33
    assert {header.locator[1] for header in selection.headers} == set(range(6, 39))
    assert [choice.lead_hours for choice in selection.choices] == [25] * 16 + [26] * 16
    assert tuple(choice.channel for choice in selection.choices[:16]) == SPECIFICATION.channels


def test_the_first_of_equal_fields_counts(folder: Path) -> None:
    twice = [*samples(), *(replace(one, packing="grid_ccsds") for one in samples())]
    assert {header.locator[1] for header in selected(folder, twice).headers} == set(range(1, 34))


def test_two_reference_times_are_listed_with_their_files(folder: Path) -> None:
    earlier = REFERENCE_TIME - np.timedelta64(6, "h")
    paths = [
        write(folder / "new.grib2", *samples()),
        write(folder / "old.grib2", *(replace(one, reference_time=earlier) for one in samples())),
    ]
    with pytest.raises(MixedCycles) as caught:
        select([header for path in paths for header in files.scan(path)], SPECIFICATION)
    assert caught.value.got == "2022-08-09T12:00:00: old.grib2; 2022-08-09T18:00:00: new.grib2"


def test_another_cycle_than_the_expected_one(folder: Path) -> None:
    headers = files.scan(write(folder / "cycle.grib2", *samples()))
    assert select(headers, SPECIFICATION, REFERENCE_TIME).reference_time == REFERENCE_TIME
    with pytest.raises(MixedCycles, match="another cycle") as caught:
        select(headers, SPECIFICATION, np.datetime64("2022-08-10T00", "h"))
    assert caught.value.expected == "2022-08-10T00:00:00 UTC"
    assert "cycle.grib2" in caught.value.got


def test_all_absent_leads_are_listed(folder: Path) -> None:
    with pytest.raises(MissingLead) as caught:
        selected(folder, list(samples()), specified(leads_hours=(25, 26, 27, 28)))
    assert caught.value.where == "leads 27, 28 h"
    assert caught.value.got == "leads 24, 25, 26 h"


def test_all_missing_channels_are_listed_with_what_comes_near(folder: Path) -> None:
    gone = without("temperature_500hpa", 25)
    gone = [one for one in gone if (one.code, one.surface[0]) != ((0, 2, 3), 103)]
    with pytest.raises(MissingChannel) as caught:
        selected(folder, gone)
    error = caught.value
    assert error.what == "2 channels are missing: temperature_500hpa, northward_wind_10m"
    assert error.where == "temperature_500hpa at leads 25 h; northward_wind_10m at leads 25, 26 h"
    assert (
        error.expected
        == "temperature_500hpa: temperature at 500 hPa; northward_wind_10m: northward_wind at 10 m"
    )
    assert error.got == (
        "temperature_500hpa: temperature at 2 m, 850 hPa; "
        "northward_wind_10m: northward_wind at 500 hPa, 850 hPa"
    )


def test_rain_without_the_accumulation_before_the_first_lead(folder: Path) -> None:
    messages = [one for one in samples() if one.lead_hours != 24]
    with pytest.raises(MissingChannel, match="before the first lead") as caught:
        selected(folder, messages)
    assert caught.value.where == f"{PRECIPITATION_CHANNEL} at leads 25 h"
    assert caught.value.got == (
        f"{PRECIPITATION_CHANNEL}: precipitation 0-25 h; no precipitation that ends at 24 h"
    )


def test_large_scale_rain_alone_is_not_all_rain(folder: Path) -> None:
    others = [one for one in samples() if one.code != (0, 1, 8)]
    parts = [rain(lead, 0, 1.0, 9) for lead in (24, 25, 26)]
    with pytest.raises(MissingChannel) as caught:
        selected(folder, others + parts)
    assert "large_scale_precipitation 0-25 h" in caught.value.got


def test_accumulations_from_different_starts_are_not_differenced(folder: Path) -> None:
    others = [one for one in samples() if one.code != (0, 1, 8)]
    with pytest.raises(MissingChannel):
        selected(folder, [*others, rain(24, 6), rain(25), rain(26)])


def test_another_centre_is_another_source(folder: Path) -> None:
    with pytest.raises(WrongSource) as caught:
        selected(folder, changed("temperature_2m", 25, centre=7))
    assert caught.value.got == "centre 7"
    assert "cycle.grib2 [message" in caught.value.where
    anyone = Source(name="any", winds_relative_to="earth")
    assert (
        len(selected(folder, changed("temperature_2m", 25, centre=7), specified(source=anyone)).choices) == 32
    )


def test_another_spacing_is_another_grid(folder: Path) -> None:
    with pytest.raises(WrongGrid) as caught:
        selected(folder, [replace(one, spacing_m=3000.0) for one in samples()])
    assert caught.value.expected == "a spacing of 4900 to 5200 m"
    assert "3000 m" in caught.value.got


def test_two_grids_in_one_cycle_are_an_error(folder: Path) -> None:
    with pytest.raises(WrongGrid, match="several grids") as caught:
        selected(folder, changed("temperature_2m", 26, values=smooth(ny=8)))
    assert "9 x 7" in caught.value.got
    assert "9 x 8" in caught.value.got


def test_a_field_on_another_grid_that_is_not_needed_does_not_matter(folder: Path) -> None:
    coarse = Sample(smooth(ny=8), surface=(100, 70000), lead_hours=25)
    assert len(selected(folder, [coarse, *samples()]).choices) == 32


def test_winds_that_point_along_the_grid_bring_their_other_component(folder: Path) -> None:
    along_grid = [replace(one, grid_relative=True) if one.code[1] == 2 else one for one in samples()]
    one_wind = specified(channels=("eastward_wind_10m", PRECIPITATION_CHANNEL))
    choice = selected(folder, along_grid, one_wind).choices[0]
    assert choice.other_component is not None
    assert choice.other_component.quantity == "northward_wind"
    assert (choice.other_component.level, choice.other_component.lead_hours) == (10.0, 25.0)
    alone = [one for one in along_grid if one.code != (0, 2, 3)]
    with pytest.raises(MissingChannel, match="cannot be turned"):
        selected(folder, alone, one_wind)


def unsaid(headers: list[FieldHeader]) -> list[FieldHeader]:
    """As of files that do not say what winds point along."""
    return [replace(header, grid_relative_winds=None) for header in headers]


def test_where_the_file_is_silent_the_manifest_says_what_winds_point_along(folder: Path) -> None:
    headers = unsaid(files.scan(write(folder / "cycle.grib2", *samples())))
    for relative_to, turned in (("earth", 0), ("grid", 12)):
        source = SPECIFICATION.source.model_copy(update={"winds_relative_to": relative_to})
        choices = select(headers, specified(source=source)).choices
        assert sum(choice.other_component is not None for choice in choices) == turned
    source = SPECIFICATION.source.model_copy(update={"winds_relative_to": None})
    with pytest.raises(WrongSource, match="winds_relative_to"):
        select(headers, specified(source=source))


def test_on_a_latitude_longitude_grid_both_directions_are_one(folder: Path) -> None:
    grid = LatitudeLongitudeGrid(9, 7, 37.0, 125.0, 0.05, 0.05)
    headers = files.scan(write(folder / "cycle.grib2", *samples()))
    source = Source(name="any")
    for relative in (None, True):
        regular = [replace(header, grid=grid, grid_relative_winds=relative) for header in headers]
        choices = select(regular, specified(source=source)).choices
        assert all(choice.other_component is None for choice in choices)


def test_nothing_is_no_cycle() -> None:
    with pytest.raises(EmptyInput):
        select([], SPECIFICATION)


def test_fields_of_unknown_quantity_alone_are_no_lead(folder: Path) -> None:
    with pytest.raises(MissingLead) as caught:
        selected(folder, [Sample(smooth(), code=(0, 1, 22), lead_hours=25)])
    assert caught.value.got == "no field of a known quantity"


def test_fewer_leads_will_do_where_a_minimum_is_declared(folder: Path) -> None:
    four = specified(leads_hours=(25, 26, 27, 28))
    headers = files.scan(write(folder / "cycle.grib2", *samples()))
    selection = select(headers, four, minimum_leads=2)
    assert selection.leads_hours == (25, 26)
    assert {choice.lead_hours for choice in selection.choices} == {25, 26}
    with pytest.raises(MissingLead):
        select(headers, four, minimum_leads=3)


def test_a_lead_that_lacks_a_channel_is_left_out_as_a_whole(folder: Path) -> None:
    headers = files.scan(write(folder / "cycle.grib2", *without("temperature_500hpa", 25)))
    selection = select(headers, SPECIFICATION, minimum_leads=1)
    assert selection.leads_hours == (26,)
    assert len(selection.choices) == len(SPECIFICATION.channels)
    with pytest.raises(MissingChannel):
        select(headers, SPECIFICATION, minimum_leads=2)
    assert select(files.scan(folder / "cycle.grib2"), SPECIFICATION, minimum_leads=1) == selection


def test_all_leads_are_taken_even_where_fewer_would_do(folder: Path) -> None:
    headers = files.scan(write(folder / "cycle.grib2", *samples()))
    assert select(headers, SPECIFICATION, minimum_leads=1) == select(headers, SPECIFICATION)
