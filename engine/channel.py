"""What stands between two stages that run in threads of their own: a queue bounded in bytes."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any


class Stopped(Exception):
    """Another stage failed, or the caller asked to stop."""


class Channel:
    """A queue that holds at most `limit` bytes, or one item; iterating takes until it is closed."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._items: deque[tuple[Any, int]] = deque()
        self._changed = threading.Condition()
        self._closed = self._broken = False

    def put(self, item: Any, nbytes: int) -> None:
        """Wait for room, then add. Raises Stopped when the channel is broken."""
        with self._changed:
            while self._items and self._held + nbytes > self._limit and not self._broken:
                self._changed.wait()
            if self._broken:
                raise Stopped
            self._items.append((item, nbytes))
            self._held += nbytes
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more comes; what is in it is still taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Drop what is in it, and wake all who wait, with Stopped."""
        with self._changed:
            self._broken = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Any]:
        """Take items until the channel is closed and empty. Raises Stopped when it is broken."""
        while True:
            with self._changed:
                while not self._items and not self._closed and not self._broken:
                    self._changed.wait()
                if self._broken:
                    raise Stopped
                if not self._items:
                    return
                item, nbytes = self._items.popleft()
                self._held -= nbytes
                self._changed.notify_all()
            yield item
            del item  # else it would be held while the next is waited for
