"""Which samples of a store are there, and the words for those that are not made yet."""

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.commit import manifest_entries, parsed_record, read_records, record_name
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.location import Location

_CURE = "run the same `voxelmill make` to go on"


class Made:
    """The samples of a store that are committed.

    shards: shard -> samples, of a store that is not whole when it is opened, kept up to date by
    who waits for more; None where all are there. state: that of the store, or "grown" if it was
    whole with the count of `description`. Raises StoreError for a damaged manifest.
    """

    def __init__(self, location: Location, description: Description, state: str) -> None:
        self._location, self._description, self._state = location, description, state
        self.shards: dict[int, int] | None = None
        if state == "whole":
            manifest_entries(location, description)
        elif state == "grown":  # and its samples are still where they were
            pass
        else:
            self.shards = _committed(location, description)

    def forget_short(self) -> None:
        """Count a shard that growing will make anew as not there: what was read of it is kept.

        For who follows; raises StoreError if the store is behind a URL.
        """
        if self.shards is not None and not self._location.is_local:
            raise StoreError(
                f"{self._location} is {self._state}, and a store is followed in its folder only: "
                "pass partial=True to read what is there, or go to the machine that makes it"
            )
        if self.shards is not None:
            due = self._description.samples_in
            self.shards = {k: n for k, n in self.shards.items() if n == due(k)}

    def runs(self) -> list[tuple[int, int]]:
        """The samples that are there, in runs from the first to behind the last."""
        if self.shards is None:
            return [(0, self._description.count)]
        size = self._description.samples_per_shard
        return [(shard * size, shard * size + n) for shard, n in sorted(self.shards.items())]

    def refuse_lacking(self, indices: NDArray[np.int64]) -> None:
        """Raise StoreError if one of the samples is not there."""
        if self.shards is None:
            return
        for i in indices.tolist():
            shard, place = divmod(i, self._description.samples_per_shard)
            if place >= self.shards.get(shard, 0):
                raise StoreError(
                    f"{self._location}: sample {i} is in shard {shard}, which is not made yet; "
                    f"{_CURE}"
                )

    def refuse_unfinished(self) -> None:
        """Raise StoreError if the store is not whole, naming what is not made yet."""
        if self.shards is None:
            return
        from voxelmill.engine.store import name_shards

        d = self._description
        lacking = [k for k in range(d.shards) if self.shards.get(k, 0) < d.samples_in(k)]
        if not lacking:
            raise StoreError(
                f"{self._location}: all shards are made, but the store is not finished; {_CURE}"
            )
        raise StoreError(
            f"{self._location} is {self._state}: {name_shards(lacking)} not made yet; {_CURE}, or "
            f"pass partial=True to read the rest{self._or_follow()}"
        )

    def _or_follow(self) -> str:
        return ", or follow=True to wait for it" if self._location.is_local else ""


def _committed(location: Location, description: Description) -> dict[int, int]:
    """Shard -> samples that are committed. A server cannot list, so each shard is a request."""
    if location.is_local:
        records = read_records(location.path, description)
        return {k: r.samples for k, r in records.items() if r.may_be_of(description)}
    names = [record_name(shard) for shard in range(description.shards)]
    found = (parsed_record(data) if data else None for data in location.read_many(names))
    return {
        k: r.samples
        for k, r in enumerate(found)
        if r is not None and r.shard == k and r.may_be_of(description)
    }
