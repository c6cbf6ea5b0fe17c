"""The table of units."""

from __future__ import annotations

import pytest

from service.channels import QUANTITIES
from service.errors import UnrecognisedInput
from service.units import CONVERSIONS, Conversion, conversion


def test_the_unit_of_every_quantity_is_itself() -> None:
    for quantity in QUANTITIES.values():
        assert conversion(quantity.unit, f" {quantity.unit} ", "here") == Conversion(1.0, 0.0)


@pytest.mark.parametrize(
    ("unit", "source", "value", "expected"),
    [
        ("m", "m2 s-2", 9.80665, 1.0),
        ("m", "dam", 550.0, 5500.0),
        ("Pa", "hPa", 1013.25, 101325.0),
        ("Pa", "kPa", 101.325, 101325.0),
        ("K", "degC", 20.0, 293.15),
        ("%", "1", 0.5, 50.0),
        ("m s-1", "kt", 100.0, 51.4444),
        ("m s-1", "km/h", 36.0, 10.0),
        ("mm", "m", 0.01, 10.0),
        ("mm", "kg m-2", 7.0, 7.0),
    ],
)
def test_conversions(unit: str, source: str, value: float, expected: float) -> None:
    change = conversion(unit, source, "here")
    assert change.factor * value + change.offset == pytest.approx(expected, rel=1e-5)


def test_a_unit_of_another_quantity_is_refused() -> None:
    for unit in CONVERSIONS:
        with pytest.raises(UnrecognisedInput, match="never guessed"):
            conversion(unit, "mm h-1", "here")
