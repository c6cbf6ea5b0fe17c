"""Who may have which role: what is refused leaves the roles as they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.artefact import Artefact
from service.errors import ArtefactError, Conflict, ModelRefused, PreconditionFailed, SettingsError
from service.model_choices import Choices, ModelChoices, Role
from service.model_folder import find_model
from service.rollout import Condition, Rollout, etag_of
from service.settings import Settings
from tests.service.sample_artefact import SAMPLE_SPECIFICATION, write_artefact

ONE, TWO, THREE = "sample-0.1.0", "sample-0.2.0", "sample-0.3.0"


class Desk:
    """A rollout on a database of its own; what is proven is noted, and not run."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.models = folder / "models"
        paths = {"models_folder": self.models, "data_folder": folder}
        self.settings = Settings.model_validate(paths | settings)
        self.choices = ModelChoices(self.settings.ledger_database_url)
        self.choices.open()
        self.proven: list[tuple[Role, str]] = []
        self.rollout = Rollout(self.settings, self.choices, self._prove)

    def _prove(self, role: Role, model: str) -> Artefact:
        self.proven.append((role, model))
        return Artefact.load(find_model(self.models, model))

    def roles(self) -> dict[str, str | None]:
        return {role: choice.model for role, choice in self.choices.current().items()}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """With two models on one grid, nothing chosen."""
    for version in ("0.1.0", "0.2.0"):
        write_artefact(tmp_path / "models", version=version)
    desk = Desk(tmp_path, model=ONE)
    desk.rollout.settle()
    yield desk
    desk.choices.close()


def test_the_setting_holds_until_somebody_chooses(desk: Desk, tmp_path: Path) -> None:
    assert desk.roles() == {"active": ONE}
    assert not desk.choices.current()["active"].chosen
    desk.rollout.choose("active", TWO, "someone")
    assert desk.proven == [("active", TWO)]
    desk.rollout.settle()
    assert desk.roles() == {"active": TWO}, "a start with the same setting changes nothing"


def test_another_setting_counts_only_where_nobody_has_chosen(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Desk(tmp_path, model=TWO).rollout.settle()
    assert desk.roles() == {"active": TWO}
    (newest, *_) = desk.choices.history(1)
    assert (newest.by, newest.before, newest.chosen) == ("RAINPOST_MODEL", ONE, False)
    desk.rollout.choose("active", TWO, "someone")
    assert desk.choices.current()["active"].chosen, "the same model, but now somebody wants it"
    with caplog.at_level(logging.WARNING):
        desk.rollout.settle()
    assert desk.roles() == {"active": TWO}
    assert f"RAINPOST_MODEL says {ONE}, but the active model is {TWO}" in caplog.text
    assert "someone" in caplog.text
    caplog.clear()
    Desk(tmp_path, model="sample").rollout.settle()
    assert caplog.text == "", "its name alone is no other model"


def test_a_choice_that_is_withdrawn_leaves_the_setting(desk: Desk) -> None:
    desk.rollout.choose("active", TWO, "someone")
    after = desk.rollout.withdraw("active", "another")
    assert (after["active"].model, after["active"].chosen, after["active"].by) == (ONE, False, "another")


def test_choosing_twice_is_as_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        first = desk.rollout.choose("active", TWO, "someone")
        assert f"active model: {TWO} in the place of {ONE}, by someone" in caplog.text
        caplog.clear()
        assert desk.rollout.choose("active", TWO, "another") == first
    assert caplog.text == ""


def test_what_is_not_installed_or_not_proven_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = desk.choices.history(10)
    with pytest.raises(ModelRefused, match=f"no such model.*expected: {ONE}, {TWO}; got: {THREE}"):
        desk.rollout.choose("active", THREE, "someone")
    assert desk.proven == []
    (desk.models / TWO / "MODEL_CARD.md").write_text("changed")
    for role in ("active", "shadow"):
        with pytest.raises(ModelRefused, match="a file is not the one that the manifest describes") as caught:
            desk.rollout.choose(role, TWO, "someone")
        assert isinstance(caught.value.__cause__, ArtefactError)
        assert "MODEL_CARD.md" in caught.value.where
    with pytest.raises(ModelRefused, match="there is always an active model"):
        desk.rollout.choose("active", None, "someone")
    assert desk.choices.history(10) == before


@pytest.mark.parametrize(
    "condition", [Condition(model=TWO), Condition(model=""), Condition(if_match='"active-0"')]
)
def test_who_expected_something_else_changes_nothing(desk: Desk, condition: Condition) -> None:
    with pytest.raises(PreconditionFailed) as caught:
        desk.rollout.choose("active", TWO, "someone", condition)
    assert caught.value.where == "/models/active"
    assert desk.roles() == {"active": ONE}


def test_who_expected_what_holds_changes_it(desk: Desk) -> None:
    tag = etag_of("active", desk.choices.current()["active"])
    desk.rollout.choose("active", TWO, "someone", Condition(model=ONE, if_match=tag))
    with pytest.raises(PreconditionFailed, match=r'expected: "active-'):
        desk.rollout.choose("active", ONE, "someone", Condition(if_match=tag))
    desk.rollout.choose("active", ONE, "someone", Condition(if_match="*"))
    desk.rollout.choose("shadow", TWO, "someone", Condition(model=""))
    assert desk.roles() == {"active": ONE, "shadow": TWO}


def test_a_shadow_begins_and_ends(desk: Desk) -> None:
    assert desk.rollout.choose("shadow", TWO, "someone")["shadow"].model == TWO
    assert desk.proven == [("shadow", TWO)]
    assert desk.rollout.choose("shadow", None, "someone")["shadow"].model is None
    assert desk.roles() == {"active": ONE, "shadow": None}


def test_a_shadow_that_becomes_active_ends_being_one(desk: Desk) -> None:
    desk.rollout.choose("shadow", TWO, "someone")
    after: Choices = desk.rollout.choose("active", TWO, "someone")
    assert {role: choice.model for role, choice in after.items()} == {"active": TWO, "shadow": None}
    with pytest.raises(Conflict, match="cannot be its own shadow"):
        desk.rollout.choose("shadow", TWO, "someone")


def test_models_that_cannot_be_scored_together_do_not_run_together(desk: Desk) -> None:
    moved = SAMPLE_SPECIFICATION.window.model_copy(update={"x_start": 1})
    write_artefact(desk.models, SAMPLE_SPECIFICATION.model_copy(update={"window": moved}), version="0.3.0")
    with pytest.raises(Conflict, match="choose another shadow"):
        desk.rollout.choose("shadow", THREE, "someone")
    desk.rollout.choose("shadow", TWO, "someone")
    with pytest.raises(Conflict, match="end the shadow first"):
        desk.rollout.choose("active", THREE, "someone")
    assert desk.roles() == {"active": ONE, "shadow": TWO}
    desk.rollout.choose("shadow", None, "someone")
    desk.rollout.choose("active", THREE, "someone")
    assert desk.roles()["active"] == THREE


def test_a_shadow_by_setting(desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    both = Desk(tmp_path, model=ONE, shadow_model="sample")
    both.rollout.settle()
    assert desk.roles() == {"active": ONE, "shadow": TWO}, "the highest version of the name"
    desk.rollout.choose("shadow", None, "someone")
    both.rollout.settle()
    assert desk.roles()["shadow"] is None, "whoever ended it has the last word"
    assert both.rollout.withdraw("shadow", "someone")["shadow"].model == TWO
    Desk(tmp_path, model=ONE).rollout.settle()
    assert desk.roles()["shadow"] is None, "without the setting there is none"
    with caplog.at_level(logging.WARNING):
        Desk(tmp_path, model=ONE, shadow_model=ONE).rollout.settle()
    assert "names the active model" in caplog.text
    with pytest.raises(SettingsError, match="RAINPOST_SHADOW_MODEL"):
        Desk(tmp_path, model=ONE, shadow_model="other").rollout.settle()
