"""Which of the installed models is meant."""

from __future__ import annotations

from pathlib import Path

from service.artefact import Artefact, find_models, read_manifest
from service.errors import ModelRefused, SettingsError
from service.specification import CycleSpecification
from service.store import ModelIdentity


def select_model(folder: Path, choice: str | None, setting: str = "RAINPOST_MODEL") -> Path:
    """The model folder to serve: by its full name, by its name alone (highest version) or the only name.

    Raises ``SettingsError`` where the choice is empty or not clear, ``ArtefactError`` for a bad manifest.
    """
    found = find_models(folder)
    exact = [path for path in found if path.name == choice]
    if exact:
        return exact[0]
    candidates = [path for path in found if choice is None or path.name.rpartition("-")[0] == choice]
    names = {path.name.rpartition("-")[0] for path in candidates}
    if len(names) != 1:
        raise SettingsError(
            "no such model" if choice else "no model" if not found else "more than one model to choose from",
            where=setting if found else f"RAINPOST_MODELS_FOLDER, {folder}",
            expected=", ".join(path.name for path in found) or "a folder <name>-<version> with a manifest",
            got=choice or "",
            advice="" if found else "train and export one, or install one there",
        )
    return max(candidates, key=_version)


def find_model(folder: Path, name: str) -> Path:
    """The model folder of a full name. Raises ``ModelRefused``."""
    found = find_models(folder)
    for path in found:
        if path.name == name:
            return path
    raise ModelRefused(
        "no such model is installed",
        where=f"RAINPOST_MODELS_FOLDER, {folder}",
        expected=", ".join(path.name for path in found) or "a folder <name>-<version> with a manifest",
        got=name[:80],
        advice="name it as its folder is named; a model that is copied there is found at once",
    )


def identity_of(artefact: Artefact) -> ModelIdentity:
    """Name, version and digests."""
    return ModelIdentity(
        name=artefact.manifest.name,
        version=artefact.manifest.version,
        sha256=artefact.model_sha256,
        manifest_sha256=artefact.sha256,
    )


def sees_the_same_hours(one: CycleSpecification, other: CycleSpecification) -> bool:
    """Whether the products of both can be compared with the same observations."""
    return (one.target, one.window, one.precipitation_hours) == (
        other.target,
        other.window,
        other.precipitation_hours,
    )


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in read_manifest(folder)[0].version.split("."))
