"""Parameters of WMS 1.3.0."""

from __future__ import annotations

import pytest

from service.wms_request import NATIVE, WmsError, map_request, upper_names

GOOD = {
    "VERSION": "1.3.0",
    "LAYERS": "raw,class",
    "STYLES": ",default",
    "CRS": "CRS:84",
    "BBOX": "120,30,135,45",
    "WIDTH": "30",
    "HEIGHT": "20",
    "FORMAT": "image/png",
}


def test_names_are_of_any_case() -> None:
    assert upper_names([("Layers", "raw"), ("LAYERS", "class"), ("x", "1")]) == {"LAYERS": "raw", "X": "1"}


@pytest.mark.parametrize("system", ["CRS:84", "EPSG:3857", NATIVE])
def test_a_box_has_x_first(system: str) -> None:
    asked = map_request(GOOD | {"CRS": system})
    assert (asked.west, asked.south, asked.east, asked.north) == (120, 30, 135, 45)
    assert (asked.layers, asked.width, asked.height) == (("raw", "class"), 30, 20)
    assert (asked.transparent, asked.background, asked.time) == (False, "#FFFFFF", None)


def test_a_box_of_epsg_4326_has_latitude_first() -> None:
    asked = map_request(GOOD | {"CRS": "EPSG:4326", "BBOX": "30,120,45,135"})
    assert (asked.west, asked.south, asked.east, asked.north) == (120, 30, 135, 45)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"VERSION": "1.1.1"}, "InvalidParameterValue"),
        ({"VERSION": ""}, "MissingParameterValue"),
        ({"LAYERS": ""}, "MissingParameterValue"),
        ({"STYLES": "red"}, "StyleNotDefined"),
        ({"STYLES": ",,"}, "StyleNotDefined"),
        ({"CRS": "EPSG:2097"}, "InvalidCRS"),
        ({"BBOX": "135,30,120,45"}, "InvalidParameterValue"),
        ({"BBOX": "120,30,135"}, "InvalidParameterValue"),
        ({"BBOX": "120,30,135,nan"}, "InvalidParameterValue"),
        ({"WIDTH": "0"}, ""),
        ({"WIDTH": "4097"}, ""),
        ({"HEIGHT": "-1"}, ""),
        ({"FORMAT": "image/gif"}, "InvalidFormat"),
        ({"BGCOLOR": "white"}, "InvalidParameterValue"),
    ],
)
def test_what_is_refused(change: dict[str, str], code: str) -> None:
    with pytest.raises(WmsError) as caught:
        map_request(GOOD | change)
    assert caught.value.code == code
