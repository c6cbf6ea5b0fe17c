"""Capabilities without and with cycles."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from service.wms_capabilities import Times, capabilities, exception_report
from service.wms_request import WmsError
from tests.service.sample_edr import DATE_LINE
from tests.service.sample_product import sample_product

WMS = "{http://www.opengis.net/wms}"
TIMES = Times(("2026-07-14T18:00:00Z",), ("2026-07-15T19:00:00Z",), "2026-07-15T19:00:00Z")


def test_without_a_cycle_there_is_no_layer_with_a_name() -> None:
    root = ET.fromstring(capabilities(None, Times((), (), ""), "http://rain.example/wms"))
    assert root.get("version") == "1.3.0"
    assert root.find(f".//{WMS}Layer") is not None
    assert root.find(f".//{WMS}Layer/{WMS}Name") is None


def test_boxes_are_in_the_order_of_their_axes() -> None:
    root = ET.fromstring(capabilities(sample_product(), TIMES, "http://rain.example/wms"))
    boxes = {box.get("CRS"): box.attrib for box in root.iter(f"{WMS}BoundingBox")}
    assert boxes["EPSG:4326"]["minx"] == boxes["CRS:84"]["miny"]
    assert boxes["EPSG:4326"]["miny"] == boxes["CRS:84"]["minx"]
    assert float(boxes["RAINPOST:native"]["maxx"]) == float(sample_product()["x"].max())
    assert "simulated data" in (root.findtext(f"{WMS}Service/{WMS}Abstract") or "")


def test_over_the_date_line_the_box_is_the_whole_way_round() -> None:
    root = ET.fromstring(capabilities(sample_product(DATE_LINE), TIMES, "http://rain.example/wms"))
    assert root.findtext(f".//{WMS}westBoundLongitude") == "-180.00000"
    assert root.findtext(f".//{WMS}eastBoundLongitude") == "180.00000"
    assert "RAINPOST:native" not in {one.text for one in root.iter(f"{WMS}CRS")}


def test_exceptions_escape_what_they_repeat() -> None:
    (exception,) = ET.fromstring(exception_report(WmsError("no <layer>", "LayerNotDefined")))
    assert (exception.text, exception.get("code")) == ("no <layer>", "LayerNotDefined")
