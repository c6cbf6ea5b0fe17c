"""Who is there: as two processes see each other. Locks tell file handles apart, not processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import SettingsError
from service.presence import Presence


def test_alone_means_alone(tmp_path: Path) -> None:
    first, second, sharing = (Presence(tmp_path, shared=shared) for shared in (False, False, True))
    first.enter()
    for other in (second, sharing):
        with pytest.raises(SettingsError, match="another service process uses this data folder"):
            other.enter()
    first.leave()
    second.enter()
    second.leave()
    second.leave()


def test_who_shares_sees_the_others(tmp_path: Path) -> None:
    first, second = (Presence(tmp_path, shared=True) for _ in range(2))
    first.enter()
    second.enter()
    assert first.is_alive(second.id)
    assert second.is_alive(first.id)
    assert first.is_alive(first.id)
    with pytest.raises(SettingsError):
        Presence(tmp_path, shared=False).enter()
    second.leave()
    assert not first.is_alive(second.id)
    assert first.is_alive(first.id)
    first.leave()
    assert list((tmp_path / "processes").iterdir()) == []


def test_the_file_of_a_process_that_was_killed_goes(tmp_path: Path) -> None:
    presence = Presence(tmp_path, shared=True)
    presence.enter()
    (tmp_path / "processes" / "killed").touch()
    assert not presence.is_alive("killed")
    assert not (tmp_path / "processes" / "killed").exists()
    assert not presence.is_alive("killed")
    presence.leave()


def test_one_leads_until_it_leaves(tmp_path: Path) -> None:
    first, second = (Presence(tmp_path, shared=True) for _ in range(2))
    assert first.leads("inbox")
    assert first.leads("inbox")
    assert not second.leads("inbox")
    assert second.leads("observations")
    first.leave()
    assert second.leads("inbox")
    second.leave()
