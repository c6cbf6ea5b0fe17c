"""Names for histories."""

from __future__ import annotations

import getpass
import os

import pytest

from service.users import current_user


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError(10001)

    assert current_user().startswith(f"{getpass.getuser()}@")
    monkeypatch.setattr(getpass, "getuser", nameless)
    assert current_user().startswith(f"user {os.getuid()}@")
