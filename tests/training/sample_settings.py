"""Settings of tests, changes of them, and the states of networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor

Settings = TypeVar("Settings", bound=BaseModel)


def changed(settings: Settings, **values: Any) -> Settings:
    """A copy with other values, validated anew; those of a table are merged into it."""
    return type(settings).model_validate(_merged(settings.model_dump(), values))


def _merged(table: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    inner = {
        key: _merged(table[key], value)
        for key, value in values.items()
        if isinstance(value, Mapping) and isinstance(table.get(key), Mapping)
    }
    return {**table, **values, **inner}


def as_toml(settings: BaseModel) -> str:
    """What is not left at its default, as a configuration file has it."""
    return "\n".join(_lines(settings.model_dump(mode="json", exclude_defaults=True), ""))


def _lines(table: Mapping[str, Any], name: str) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    # A line of TOML is one of JSON as long as it holds numbers, text and lists of these.
    lines = [f"[{name}]"] if name else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in plain.items() if value is not None]
    for key in table.keys() - plain.keys():
        lines += _lines(table[key], f"{name}.{key}" if name else key)
    return lines


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> set[str]:
    """Names of what is in both states and equal, bit for bit."""
    return {name for name, value in one.items() if name in other and torch.equal(value, other[name])}
