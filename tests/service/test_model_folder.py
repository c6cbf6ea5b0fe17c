"""Which of the installed models is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.artefact import Artefact
from service.errors import ModelRefused, SettingsError
from service.model_folder import find_model, identity_of, sees_the_same_hours, select_model
from tests.service.sample_artefact import SAMPLE_SPECIFICATION, write_artefact


def test_the_model_is_chosen_by_name_or_version(tmp_path: Path) -> None:
    for version in ("0.9.0", "0.10.0"):
        write_artefact(tmp_path, version=version)
    assert select_model(tmp_path, None).name == "sample-0.10.0"
    assert select_model(tmp_path, "sample").name == "sample-0.10.0"
    assert select_model(tmp_path, "sample-0.9.0").name == "sample-0.9.0"
    with pytest.raises(SettingsError, match=r"expected: sample-0\.10\.0, sample-0\.9\.0; got: other"):
        select_model(tmp_path, "other")
    write_artefact(tmp_path, name="other")
    with pytest.raises(SettingsError, match="more than one model"):
        select_model(tmp_path, None)
    with pytest.raises(SettingsError, match="no model"):
        select_model(tmp_path / "absent", None)


def test_a_choice_names_its_model_in_full(tmp_path: Path) -> None:
    folder = write_artefact(tmp_path)
    assert find_model(tmp_path, "sample-0.1.0") == folder
    for name in ("sample", "sample-0.2.0", "", f"../{tmp_path.name}/sample-0.1.0"):
        with pytest.raises(ModelRefused, match=r"expected: sample-0\.1\.0"):
            find_model(tmp_path, name)


def test_equal_names_with_other_contents_are_other_models(tmp_path: Path) -> None:
    one = Artefact.load(write_artefact(tmp_path / "one"))
    other = Artefact.load(
        write_artefact(tmp_path / "other", SAMPLE_SPECIFICATION.model_copy(update={"leads_hours": (2,)}))
    )
    assert identity_of(one).name == identity_of(other).name
    assert identity_of(one).manifest_sha256 == one.sha256 != identity_of(other).manifest_sha256


def test_what_can_be_scored_together() -> None:
    other_leads = SAMPLE_SPECIFICATION.model_copy(update={"leads_hours": (2,)})
    assert sees_the_same_hours(SAMPLE_SPECIFICATION, other_leads)
    moved = SAMPLE_SPECIFICATION.window.model_copy(update={"x_start": 1})
    for change in ({"window": moved}, {"precipitation_hours": 3}):
        assert not sees_the_same_hours(SAMPLE_SPECIFICATION, SAMPLE_SPECIFICATION.model_copy(update=change))
