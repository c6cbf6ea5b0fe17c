"""What pre-training and fine-tuning share: their settings, command line, network and provenance.

Settings come from TOML files; unknown keys are refused.
"""

from __future__ import annotations

import argparse
import json
import platform
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from service.errors import InputError, SettingsError
from training import distribution
from training.engine import Optimisation
from training.networks.catalogue import InternImageSettings, NetworkSettings, build
from training.samples import DataSettings, Split

PROVENANCE = "run.json"
EXTENDS = "extends"

Settings = TypeVar("Settings", bound=BaseModel)


class TrainingSettings(BaseModel):
    """What pre-training and fine-tuning have in common.

    seed: decides everything that is drawn.
    threads: of the CPU.
    device: where the network computes.
    data: the archive and its splits.
    network: one of ``training.networks.catalogue``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    threads: int = Field(default=2, gt=0)
    device: str = Field(default="cpu", pattern="^(cpu|cuda)$")
    data: DataSettings
    network: NetworkSettings
    optimisation: Optimisation

    @model_validator(mode="after")
    def _normalisable(self) -> Self:
        if isinstance(self.network, InternImageSettings) and self.optimisation.batch < 2:
            raise ValueError(
                "the network internimage needs batches of 2 samples or more: one of the decoder's batch "
                "normalisations has one value of each sample and channel"
            )
        return self


def read_settings(kind: type[Settings], path: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Reads a TOML file, and the one that it extends.

    ``extends = "base.toml"`` (relative to the file) takes over what the file itself does not say. Of a table
    with a ``name``, such as ``[network]``, nothing is taken over into one of another name.

    Args:
        kind: the model that it must fit.
        path: the file.
        overrides: values by dotted name (``data.label_share``) that take the place of those in the file.

    Raises:
        SettingsError: unreadable, an unknown key, or a value out of bounds; names each of them.
    """
    content = _content(path)
    for name, value in (overrides or {}).items():
        _set(content, name, value)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise SettingsError("The configuration is not valid", where=str(path), got=problems) from error


def configuration_files(path: Path) -> tuple[Path, ...]:
    """The file and those that it extends.

    Raises:
        SettingsError: one of them cannot be read, or they extend each other in a circle.
    """
    files = [path]
    while (base := _table(files[-1]).get(EXTENDS)) is not None:
        if not isinstance(base, str):
            raise SettingsError(
                f"{EXTENDS} must name a file", where=str(files[-1]), expected="text", got=repr(base)
            )
        files.append(files[-1].parent / base)
        if files[-1].resolve() in {file.resolve() for file in files[:-1]}:
            raise SettingsError(
                "Configurations extend each other", where=str(path), got=" -> ".join(map(str, files))
            )
    return tuple(files)


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    # One that is no TOML, or no text at all.
    except (OSError, ValueError) as error:
        raise SettingsError("The configuration cannot be read", where=str(path), got=str(error)) from error


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for file in reversed(configuration_files(path)):
        content = _merged(content, _table(file))
    content.pop(EXTENDS, None)
    return content


def _set(content: dict[str, Any], name: str, value: Any) -> None:
    *tables, key = name.split(".")
    table = content
    for part in tables:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SettingsError(
                "A value inside of another cannot be set",
                where=name,
                got=f"{part} = {table!r}, which is no table",
            )
    table[key] = value


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    if own.get("name", base.get("name")) != base.get("name"):
        return own
    tables = {
        key: _merged(base[key], value)
        for key, value in own.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return base | own | tables


def network_of(configuration: TrainingSettings, split: Split, outputs: int) -> nn.Module:
    """A fresh network for a split.

    Raises:
        InputError: the network does not fit the archive.
    """
    height, width = split.field_shape
    inputs = len(split.description.channels)
    return build(
        configuration.network,
        inputs=inputs,
        conditions=len(split.input_names) - inputs,
        height=height,
        width=width,
        outputs=outputs,
    )


def claim(out: Path, provenance: Any, identity: Sequence[str]) -> None:
    """Writes what the run is made from, or makes sure that the folder's run is made from the same.

    Args:
        out: folder of the run.
        provenance: a model of pydantic.
        identity: names of its fields that must be the same when a run goes on.

    Raises:
        SettingsError: the folder holds another run.
    """
    path = out / PROVENANCE
    if path.exists():
        try:
            stored = read_provenance(type(provenance), out)
        except InputError as error:
            raise _another_run(out, identity, "one of another kind") from error
        different = [name for name in identity if getattr(stored, name) != getattr(provenance, name)]
        if different:
            raise _another_run(out, identity, f"another {', '.join(different)}")
    elif distribution.rank() == 0:
        out.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: other processes may be looking for it, and a kill may come at any time.
        temporary = path.with_suffix(".part")
        temporary.write_text(provenance.model_dump_json(indent=2) + "\n")
        temporary.replace(path)


def _another_run(out: Path, identity: Sequence[str], got: str) -> SettingsError:
    return SettingsError(
        "The folder holds another run",
        where=str(out),
        expected="the same " + ", ".join(identity),
        got=got,
        advice="choose another folder for this run",
    )


def read_provenance(kind: type[Settings], folder: Path) -> Settings:
    """What the run in a folder was made from.

    Raises:
        InputError: no run, or one of another kind.
    """
    path = folder / PROVENANCE
    try:
        return kind.model_validate_json(path.read_text())
    except FileNotFoundError as error:
        raise InputError("No run", where=str(folder), expected=f"a file {PROVENANCE}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        raise InputError(
            "The run is of another kind",
            where=str(path),
            expected=kind.__name__,
            got=f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}",
        ) from error


def machine(settings: TrainingSettings) -> str:
    """What computes, for provenances."""
    if settings.device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {settings.threads} threads"


def assignment(text: str) -> tuple[str, Any]:
    """``name=value`` of the command line; the value as TOML has it."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def parse_arguments(program: str, description: str | None) -> argparse.Namespace:
    """The command line that pre-training and fine-tuning share."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--set",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a value in the place of the configuration's, such as seed=2 or data.label_share=0.2",
    )
    return parser.parse_args()
