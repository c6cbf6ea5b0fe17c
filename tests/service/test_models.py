"""The models of a process: which are loaded, and which one new jobs get."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from service.artefact import Artefact
from service.errors import ArtefactError, SettingsError, Unavailable
from service.model_choices import Change, ModelChoices
from service.model_folder import identity_of
from service.models import Models
from service.settings import Settings
from tests.service.sample_artefact import write_artefact

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0")


class Desk:
    """Models on a database of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "models"
        for version in VERSIONS:
            write_artefact(self.folder, version=version)
        paths: dict[str, Any] = {"models_folder": self.folder, "data_folder": folder, "threads": 1}
        self.settings = Settings.model_validate(paths | {"model": "sample-0.1.0"})
        self.choices = ModelChoices(self.settings.ledger_database_url)
        self.choices.open()
        self.models = Models(self.settings, self.choices)

    def artefact(self, version: str) -> Artefact:
        return Artefact.load(self.folder / f"sample-{version}")

    def choose(self, version: str, sha256: str | None = None) -> None:
        """As another process does it."""
        digest = sha256 or self.artefact(version).sha256
        self.choices.change(lambda _: [Change("active", f"sample-{version}", digest, "someone", chosen=True)])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.choices.close()


def test_a_change_holds_for_the_next_job(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    old = desk.models.active
    assert desk.models.for_new_job() == (identity_of(desk.artefact("0.1.0")), None)
    desk.choose("0.2.0")
    with caplog.at_level(logging.INFO):
        assert desk.models.for_new_job() == (identity_of(desk.artefact("0.2.0")), None)
    assert "from now on jobs run sample-0.2.0, chosen by someone" in caplog.text
    assert desk.models.active.artefact.identity == "sample-0.2.0"
    assert desk.models.inference(identity_of(old.artefact)) is old, "a job at work finds its model loaded"


def test_few_models_stay_loaded_and_the_active_one_always(desk: Desk) -> None:
    active = desk.models.active
    loaded = {version: desk.models.inference(identity_of(desk.artefact(version))) for version in VERSIONS[1:]}
    assert desk.models.inference(desk.models.identity) is active
    kept = [
        version
        for version, inference in loaded.items()
        if desk.models._known(inference.artefact.sha256) is inference
    ]
    assert kept == ["0.4.0", "0.5.0"]
    again = desk.models.inference(identity_of(desk.artefact("0.2.0")))
    assert again is not loaded["0.2.0"]
    assert again.artefact == loaded["0.2.0"].artefact


def test_a_model_that_is_gone_or_another_is_not_taken_for_it(desk: Desk) -> None:
    identity = identity_of(desk.artefact("0.2.0"))
    other = identity.model_copy(update={"manifest_sha256": "0" * 64})
    with pytest.raises(ArtefactError, match="not the one that was meant"):
        desk.models.inference(other)
    shutil.rmtree(desk.folder / "sample-0.2.0")
    with pytest.raises(ArtefactError, match="no longer installed"):
        desk.models.inference(identity)


def test_a_choice_that_cannot_be_loaded_stops_new_jobs_and_is_logged_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    active = desk.models.active
    desk.choose("0.2.0", sha256="0" * 64)
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be loaded by this process"):
            desk.models.for_new_job()
    assert caplog.text.count("cannot be loaded") == 1
    assert desk.models.active is active
    assert desk.models.fault("active") is not None
    desk.choose("0.3.0")
    assert desk.models.for_new_job()[0].version == "0.3.0"
    assert desk.models.fault("active") is None


def test_a_database_that_does_not_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError("SELECT", {}, ConnectionRefusedError())

    monkeypatch.setattr(desk.choices, "current", fail)
    with pytest.raises(Unavailable, match="which model is active"):
        desk.models.for_new_job()
    with pytest.raises(SettingsError, match="RAINPOST_DATABASE_URL"):
        Models(desk.settings, desk.choices)


def test_a_start_loads_the_choice_and_not_the_setting(desk: Desk) -> None:
    desk.choose("0.2.0")
    wrong = desk.settings.model_copy(update={"model": "nothing"})
    assert Models(wrong, desk.choices).active.artefact.identity == "sample-0.2.0"
    shutil.rmtree(desk.folder / "sample-0.2.0")
    with pytest.raises(ArtefactError, match=r"someone chose sample-0\.2\.0 at .*models activate"):
        Models(desk.settings, desk.choices)


def test_a_shadow_that_cannot_be_loaded_is_none(desk: Desk) -> None:
    digest = desk.artefact("0.2.0").sha256
    change = Change("shadow", "sample-0.2.0", digest, "someone", chosen=True)
    desk.choices.change(lambda _: [change])
    assert desk.models.for_new_job()[1] == identity_of(desk.artefact("0.2.0"))
    desk.choices.change(lambda _: [replace(change, model="sample-9.0.0")])
    assert desk.models.for_new_job()[1] is None
    assert "no longer installed" in str(desk.models.fault("shadow"))
    assert desk.models.fault("active") is None
    desk.choices.change(lambda _: [replace(change, model=None, manifest_sha256=None)])
    assert desk.models.for_new_job()[1] is None
    assert desk.models.fault("shadow") is None
