"""``rainpost models``: with a service that answers, and without one."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.__main__ import main
from service.settings import Settings
from tests.service.sample_artefact import write_artefact
from tests.service.sample_service import ServiceClient, running

ONE, TWO = "sample-0.1.0", "sample-0.2.0"

pytestmark = pytest.mark.usefixtures("kept_logging")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An environment with two models, in which no service answers; the models folder."""
    for setting in Settings.describe():
        monkeypatch.delenv(setting.variable, raising=False)
    for version in ("0.1.0", "0.2.0"):
        write_artefact(tmp_path / "models", version=version)
    monkeypatch.setenv("RAINPOST_MODELS_FOLDER", str(tmp_path / "models"))
    monkeypatch.setenv("RAINPOST_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("RAINPOST_THREADS", "1")
    monkeypatch.setenv("RAINPOST_MODEL", ONE)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAINPOST_PORT", str(unused.getsockname()[1]))
        yield tmp_path / "models"


@pytest.fixture
def client(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceClient]:
    """A service that answers where the command line asks."""
    with running(models.parent, model=ONE) as client:
        monkeypatch.setenv("RAINPOST_PORT", str(client.base_url.port))
        yield client


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """What a command prints."""
    assert main(["models", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_list_before_anything_ran(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / TWO / "MODEL_CARD.md").write_text("changed")
    text = "\n".join(lines(capsys))
    assert text.startswith(f"active: {ONE}, as the settings say\nshadow: none, as the settings say\n")
    first, second = text.split(f"\n{TWO}\n")
    assert "A model for tests" in first
    assert "cannot be used" in second
    assert "MODEL_CARD.md" in second
    assert not (models.parent / "data").exists(), "a list changes nothing"


def test_a_list_without_models(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAINPOST_MODELS_FOLDER", str(models.parent / "none"))
    assert lines(capsys) == ["active: none; no such model", "shadow: none, as the settings say"]


def test_a_running_service_is_told(client: ServiceClient, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = lines(capsys, "activate", TWO, "--expected", ONE)
    user = line.rpartition(" ")[2]
    assert user.endswith(f"@{socket.gethostname()}")
    since = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(f"active: {TWO} since {since}, in the place of {ONE}, by {re.escape(user)}", line)
    assert client.get("/version").json()["model"] == TWO
    assert lines(capsys, "shadow", ONE)[0].endswith(f", in the place of none, by {user}")
    assert client.get("/models/shadow").json()["model"] == ONE
    listed = lines(capsys)
    assert listed[0].startswith(f"active: {TWO}, chosen at ")
    assert {f"{ONE} (shadow)", f"{TWO} (active)"} <= set(listed)
    changes = listed[listed.index("changes, newest first") + 1 :]
    assert [line.split("Z  ")[1] for line in changes] == [
        f"shadow  none -> {ONE}  by {user}",
        f"active  {ONE} -> {TWO}  by {user}",
        f"active  none -> {ONE}  by RAINPOST_MODEL",
    ]
    assert lines(capsys, "shadow", "none")[0].startswith("shadow: none since ")
    assert client.get("/models/shadow").json()["model"] is None
    assert lines(capsys, "withdraw", "active")[0].startswith(f"active: {ONE} since ")
    assert client.get("/version").json()["model"] == ONE


def test_a_refusal_says_why(client: ServiceClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "activate", "sample-9.0.0"]) == 1
    text = capsys.readouterr().err
    assert text.startswith("rainpost: no such model is installed\n")
    assert f"\n  expected  {ONE}, {TWO}\n" in text
    assert main(["models", "activate", TWO, "--expected", TWO]) == 1
    assert "is not the one that was expected" in capsys.readouterr().err
    assert client.get("/version").json()["model"] == ONE


def test_without_a_service_the_next_one_finds_it(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "activate", TWO]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"active: {TWO} since ")
    assert "no service answers" in printed.err
    lines(capsys, "shadow", ONE)
    assert main(["models", "activate", "sample-9.0.0"]) == 1
    (models / ONE / "model.onnx").write_bytes(b"broken")
    assert main(["models", "activate", ONE]) == 1
    assert "not the one that the manifest describes" in capsys.readouterr().err
    with running(models.parent, model=ONE) as client:
        assert client.get("/version").json()["model"] == TWO
    assert lines(capsys, "shadow", "none", "--expected", ONE)[0].startswith("shadow: none since ")
    assert main(["models", "withdraw", "active"]) == 1, "the model of the setting is broken"
    assert lines(capsys)[0].startswith(f"active: {TWO}, chosen at ")


def test_a_database_that_does_not_answer_is_said(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAINPOST_DATABASE_URL", "postgresql://rainpost@127.0.0.1:1/none")
    assert main(["models"]) == 1
    assert "the database does not answer" in capsys.readouterr().err
