"""The databases of the service's tests."""

from tests.service.conftest import database, server

__all__ = ["database", "server"]
