"""What files hold before they are submitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service.survey import survey
from service.times import iso_time
from tests.service.sample_artefact import SAMPLE_SPECIFICATION
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle

TIME = iso_time(REFERENCE_TIME)
SPECIFICATION = SAMPLE_SPECIFICATION.model_dump_json()


def test_leads_are_whole_with_what_the_rain_before_them_needs(tmp_path: Path) -> None:
    first, second, third = write_cycle(tmp_path)
    assert survey([first, second, third], SPECIFICATION, TIME).leads_hours == (2, 3)
    assert survey([second, third], SPECIFICATION, TIME).leads_hours == (3,)
    assert survey([first, third], SPECIFICATION, TIME).leads_hours == ()
    assert survey([], SPECIFICATION, TIME).leads_hours == ()


def test_files_that_are_of_no_use_spoil_nothing(tmp_path: Path) -> None:
    later = replaced(reference_time=REFERENCE_TIME + np.timedelta64(6, "h"))
    paths = [*write_cycle(tmp_path / "now"), write_cycle(tmp_path / "later", later)[0]]
    for name, content in (
        ("readme.txt", b"read me"),
        ("empty.gb2", b""),
        ("cut.gb2", paths[0].read_bytes()[:-9]),
    ):
        (tmp_path / name).write_bytes(content)
        paths.append(tmp_path / name)
    found = survey(paths, SPECIFICATION, TIME)
    assert found.usable == (True, True, True, False, False, False, False)
    assert found.leads_hours == (2, 3)
    assert [fault.partition(":")[0] for fault in found.faults] == ["readme.txt", "empty.gb2", "cut.gb2"]
