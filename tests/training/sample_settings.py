"""Settings of tests, and changes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

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
