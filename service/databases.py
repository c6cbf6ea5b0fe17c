"""Addresses of databases."""

from __future__ import annotations

import sqlalchemy as sql


def with_driver(url: str) -> sql.URL:
    """The URL of a setting with the driver that is installed for PostgreSQL."""
    parsed = sql.make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed
