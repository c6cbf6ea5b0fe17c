"""A cycle of operational size, to be read: 7 leads of 200 messages of 1400 x 1200 points, in two files each.

16 messages of each of the leads 25 to 30 are wanted, and of lead 24 the accumulated rain alone. The wanted
fields are the simulated ones of RDAPS-KIM with their edges mirrored outwards. The others share the packed
values of a wanted one under the code or the level of something else: what a reader passes over need not make
sense, but has to be there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import cycle as endless
from itertools import islice, product
from pathlib import Path

import eccodes
import numpy as np

from training.cycle_files import Message, grid_keys, moved, unwanted_messages, wanted_messages
from training.simulate import FULL, SimulatedCycle, simulate_cycle

NX, NY = 1400, 1200
LEADS_HOURS = (24, 25, 26, 27, 28, 29, 30)
PRESSURE_MESSAGES, SURFACE_MESSAGES = 144, 56
BITS = 16
REFERENCE_TIME = np.datetime64("2022-08-09T18", "s")

PACKINGS = (
    "grid_simple",
    "grid_complex_spatial_differencing",
    "grid_ccsds",
    "grid_jpeg",
)  # fmt: skip

_ISOBARIC, _GROUND = 100, 1
_ACCUMULATION = (0, 1, 8)
_LEVELS_HPA = (
    1000, 975, 950, 925, 900, 875, 850, 800, 750, 700, 650, 600, 550, 500, 450, 400, 350, 300, 250, 200, 150,
    100, 70, 50,
)  # fmt: skip
_MARGIN_X, _MARGIN_Y = (NX - FULL.nx) // 2, (NY - FULL.ny) // 2


def cycle_files(folder: Path, packing: str) -> list[Path]:
    """The files of the cycle in ``folder``, written where they are not there yet."""
    place = folder / packing
    paths = [
        place / f"{kind}_h{lead_hours:03d}.gb2" for lead_hours, kind in product(LEADS_HOURS, ("pres", "unis"))
    ]
    if all(path.exists() for path in paths):
        return paths
    place.mkdir(parents=True, exist_ok=True)
    cycle = _cycle()
    for index, lead_hours in enumerate(cycle.leads_hours):
        wanted = list(wanted_messages(cycle, index))
        encoded = [_encoded(message, lead_hours, packing) for message in wanted]
        for path, isobaric in zip(paths[2 * index : 2 * index + 2], (True, False), strict=True):
            partial = path.with_suffix(".partial")
            with partial.open("wb") as file:
                file.writelines(_file(cycle, index, wanted, encoded, isobaric=isobaric))
            partial.replace(path)
        for handle in encoded:
            eccodes.codes_release(handle)
    return paths


@cache
def _cycle() -> SimulatedCycle:
    return simulate_cycle(1, REFERENCE_TIME, LEADS_HOURS, FULL)


def _file(
    cycle: SimulatedCycle, index: int, wanted: list[Message], encoded: list[int], *, isobaric: bool
) -> Iterator[bytes]:
    """The messages of one file: the wanted ones spread among the others."""
    own = [
        (message, handle)
        for message, handle in zip(wanted, encoded, strict=True)
        if (message.surface == _ISOBARIC) == isobaric
    ]
    count = PRESSURE_MESSAGES if isobaric else SURFACE_MESSAGES
    others = islice(_others(cycle, index, wanted, isobaric=isobaric), count - len(own))
    step = count // len(own)
    waiting = iter(own)
    models = endless([one for one in own if one[0].code != _ACCUMULATION])
    for number in range(count):
        due = next(waiting, None) if number % step == 0 else None
        if due is not None:
            yield eccodes.codes_get_message(due[1])
            continue
        other = next(others)
        model = next((one for one in own if one[0].code == other.code != _ACCUMULATION), next(models))
        yield _disguised(model[1], other)


def _others(cycle: SimulatedCycle, index: int, wanted: list[Message], *, isobaric: bool) -> Iterator[Message]:
    """Messages that nobody wants; of their values nothing is used."""
    taken = {(message.code, message.surface, message.level) for message in wanted}
    first = [one for one in unwanted_messages(cycle, index) if (one.surface == _ISOBARIC) == isobaric]
    codes = [*sorted({one.code for one in wanted if one.surface == _ISOBARIC}), (0, 2, 8)]
    blank = np.zeros((0, 0), np.float32)
    if isobaric:
        rest = [Message(code, _ISOBARIC, 100 * level, blank) for level in _LEVELS_HPA for code in codes]
    else:
        rest = [Message((0, 5, number), _GROUND, 0, blank) for number in range(SURFACE_MESSAGES)]
    for message in first + rest:
        place = (message.code, message.surface, message.level)
        if place not in taken:
            taken.add(place)
            yield message


def _disguised(handle: int, message: Message) -> bytes:
    """The packed values of one message under the code and the level of another."""
    copy = eccodes.codes_clone(handle)
    for key, value in _product_keys(message).items():
        eccodes.codes_set(copy, key, value)
    octets: bytes = eccodes.codes_get_message(copy)
    eccodes.codes_release(copy)
    return octets


def _encoded(message: Message, lead_hours: int, packing: str) -> int:
    handle: int = eccodes.codes_grib_new_from_samples("GRIB2")
    accumulated = message.code == _ACCUMULATION
    keys: dict[str, int | str | float] = {
        "centre": 40,
        "productionStatusOfProcessedData": 2,
        "significanceOfReferenceTime": 1,
        "dataDate": int(np.datetime_as_string(REFERENCE_TIME, unit="D").replace("-", "")),
        "dataTime": int(str(REFERENCE_TIME.astype("datetime64[h]"))[-2:]) * 100,
        **grid_keys(moved(-_MARGIN_X, -_MARGIN_Y, NX, NY)),
        "discipline": message.code[0],
        "productDefinitionTemplateNumber": 8 if accumulated else 0,
        **_product_keys(message),
        "indicatorOfUnitOfTimeRange": 1,
    }
    keys |= (
        {"stepType": "accum", "stepRange": f"0-{lead_hours}"} if accumulated else {"forecastTime": lead_hours}
    )
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set(handle, "packingType", packing)
    eccodes.codes_set(handle, "bitsPerValue", BITS)
    values = np.pad(message.values, ((_MARGIN_Y, _MARGIN_Y), (_MARGIN_X, _MARGIN_X)), mode="symmetric")
    eccodes.codes_set_values(handle, values.astype(np.float64).ravel())
    return handle


def _product_keys(message: Message) -> dict[str, int | str | float]:
    return {
        "parameterCategory": message.code[1],
        "parameterNumber": message.code[2],
        "typeOfFirstFixedSurface": message.surface,
        "scaleFactorOfFirstFixedSurface": 0,
        "scaledValueOfFirstFixedSurface": message.level,
    }
