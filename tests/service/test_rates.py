"""Token buckets by a clock of their own."""

from __future__ import annotations

import pytest

from service import rates
from service.rates import Rate, network_of


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_minute_s_worth_at_once_then_one_at_a_time() -> None:
    clock = Clock()
    rate = Rate(6, clock)
    assert [rate.take("one") for _ in range(6)] == [0] * 6
    assert rate.take("one") == rate.wait_seconds("one") == 10
    assert rate.take("two") == 0, "everybody has a bucket of their own"
    clock.seconds += 9.5
    assert rate.take("one") == 1
    clock.seconds += 0.5
    assert rate.take("one") == 0
    assert rate.take("one") == 10
    clock.seconds += 3600
    assert [rate.take("one") for _ in range(7)] == [0] * 6 + [10], "no more than a bucket is saved"


def test_asking_costs_nothing() -> None:
    rate = Rate(1, Clock())
    assert [rate.wait_seconds("one") for _ in range(5)] == [0] * 5
    assert rate.take("one") == 0
    assert rate.wait_seconds("one") == 60


def test_names_are_forgotten_from_the_oldest_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST_NAMES", 2)
    rate = Rate(1, Clock())
    for name in ("one", "two", "one", "three"):
        rate.take(name)
    assert {name: rate.wait_seconds(name) for name in ("one", "two", "three")} == {
        "one": 0,
        "two": 60,
        "three": 60,
    }


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_one_subscriber_is_one_client(host: str, network: str) -> None:
    assert network_of(host) == network
