"""Values that are worth keeping for a while: the least recently used leaves first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """At most ``capacity`` values, in memory; safe to use from several threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._making: dict[Key, threading.Lock] = {}
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made where it is not there: by one thread, for which others wait."""
        with self._lock:
            if key in self._values:
                return self._used(key)
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._values:
                    return self._used(key)
            try:
                value = make()
                with self._lock:
                    self._values[key] = value
                    while len(self._values) > self._capacity:
                        self._values.popitem(last=False)
            finally:
                # After a failure the next of those that wait tries.
                with self._lock:
                    self._making.pop(key, None)
        return value

    def _used(self, key: Key) -> Value:
        self._values.move_to_end(key)
        return self._values[key]
