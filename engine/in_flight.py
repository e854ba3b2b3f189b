"""Reads under way, bounded in bytes: TensorStore itself begins whatever it is asked for."""

import threading
from collections import deque
from typing import Protocol
from weakref import ref


class Flight(Protocol):
    """Something that takes `nbytes` of memory from `begin` until it leaves."""

    nbytes: int

    def begin(self) -> None:
        """Begin; called once, under the lock of `InFlight`."""


class InFlight:
    """Lets flights begin in their order while all that fly together take at most `most_bytes`.

    One that is larger than that flies alone. Who waits for a flight calls `now`, so that nobody
    waits for one that stands in the queue; what is dropped unbegun leaves the queue by itself.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.used = most_bytes, 0
        self._waiting: deque[ref[Flight]] = deque()
        self._lock = threading.RLock()  # a flight may be dropped, and leave, while one begins

    def enter(self, flight: Flight) -> None:
        """Begin `flight` now if there is room, else when others have left."""
        with self._lock:
            self._waiting.append(ref(flight))
            self._begin_waiting()

    def now(self, flight: Flight) -> None:
        """Begin `flight`, room or not, unless it flies already."""
        with self._lock:
            place = next((w for w in self._waiting if w() is flight), None)
            if place is not None:
                self._waiting.remove(place)
                self._begin(flight)

    def leave(self, nbytes: int) -> None:
        """What a flight that had begun took is free again."""
        with self._lock:
            self.used -= nbytes
            self._begin_waiting()

    def _begin_waiting(self) -> None:
        while self._waiting:
            flight = self._waiting[0]()
            if flight is not None and self.used and self.used + flight.nbytes > self.most_bytes:
                return
            self._waiting.popleft()
            if flight is not None:
                self._begin(flight)

    def _begin(self, flight: Flight) -> None:
        self.used += flight.nbytes
        flight.begin()
