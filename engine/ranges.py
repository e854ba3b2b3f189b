"""Bytes of remote files by range: many requests under way, bounded in bytes."""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from voxelmill.engine.faults import AbsentError, DamagedError, explained
from voxelmill.engine.location import Location, tensorstore

CURE = "run `voxelmill check` on the store that was uploaded, and copy what it finds whole"

_MOST_REQUEST = 8 << 20
_MOST_UNDER_WAY = 64 << 20


class Range(NamedTuple):
    """The bytes from `first` to behind the last, of `file` inside the store."""

    file: str
    first: int
    last: int

    @property
    def nbytes(self) -> int:
        """Its length."""
        return self.last - self.first


class RangeReader:
    """Reads ranges of the files of the store at `location`; opens when it is first used.

    timeout_s: how long a request is waited for. requests_at_once: no more are under way.
    """

    def __init__(self, location: Location, timeout_s: float, requests_at_once: int) -> None:
        self.location, self.timeout_s = location, timeout_s
        self._limits = location.limits(requests_at_once)
        self._server: Any = None

    def read(self, ranges: list[Range]) -> Iterator[bytes]:
        """The bytes of each range, in their order, with more under way.

        Raises StoreError that names file and cure; a file that ends before its range is damaged.
        """
        if self._server is None:
            ts = tensorstore()
            opening = ts.KvStore.open(self.location.kvstore(), context=ts.Context(self._limits))
            self._server = opening.result(timeout=self.timeout_s)
        waiting, under_way, nbytes = deque(ranges), deque[tuple[Range, Any]](), 0
        while waiting or under_way:
            while waiting and (not under_way or nbytes + waiting[0].nbytes <= _MOST_UNDER_WAY):
                r = waiting.popleft()
                nbytes += r.nbytes
                asked = self._server.read(r.file, byte_range=slice(r.first, r.last))
                under_way.append((r, asked))
            r, asked = under_way.popleft()
            yield self._bytes(r, asked)
            nbytes -= r.nbytes

    def damaged(self, r: Range) -> DamagedError:
        """What to raise when the bytes of `r` are not those that were written."""
        url = self.location.join(r.file)
        return DamagedError(f"{url} is damaged in the bytes {r.first} to {r.last}; {CURE}")

    def _bytes(self, r: Range, asked: Any) -> bytes:
        url = self.location.join(r.file)
        try:
            got = asked.result(timeout=self.timeout_s)
        except (ValueError, TimeoutError) as error:
            found = explained(error, url, self.timeout_s)
            if isinstance(found, DamagedError):  # it ends before the range
                found = self.damaged(r)
            raise found from None
        if got.state != "value":
            raise AbsentError(f"{url} is missing; {CURE}")
        if len(got.value) != r.nbytes:
            raise self.damaged(r)
        return bytes(got.value)


def joined(ranges: list[Range]) -> list[Range]:
    """Neighbours in one file as one, up to a length that is worth a request."""
    found: list[Range] = []
    for r in sorted(ranges):
        last = found[-1] if found else None
        if (
            last
            and (last.file, last.last) == (r.file, r.first)
            and r.last - last.first <= _MOST_REQUEST
        ):
            found[-1] = last._replace(last=r.last)
        else:
            found.append(r)
    return found
