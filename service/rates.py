"""How often somebody may ask: a token bucket for each name, in the memory of this process.

https://en.wikipedia.org/wiki/Token_bucket
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MOST_NAMES: Final = 10_000
"""Beyond, those that asked longest ago are forgotten, and begin with a full bucket."""


class Rate:
    """``per_minute`` requests of each name, and as many at once. Used in the event loop alone."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, name: str) -> int:
        """After how many seconds the name may ask again; 0 where it may now."""
        missing = 1 - self._level(name)
        return math.ceil(missing / self._per_second) if missing > 0 else 0

    def take(self, name: str) -> int:
        """Count a request of the name if it may ask; as ``wait_seconds``."""
        level = self._level(name)
        if level < 1:
            return math.ceil((1 - level) / self._per_second)
        self._buckets[name] = (level - 1, self._clock())
        self._buckets.move_to_end(name)
        if len(self._buckets) > _MOST_NAMES:
            self._buckets.popitem(last=False)
        return 0

    def _level(self, name: str) -> float:
        level, since = self._buckets.get(name, (self._capacity, self._clock()))
        return min(self._capacity, level + (self._clock() - since) * self._per_second)


def network_of(host: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that a network gives to one subscriber."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
