"""How fast samples are made."""

import time


class Rate:
    """Samples and bytes so far, and samples/s since the first batch: compiling is not counted."""

    def __init__(self) -> None:
        self.samples = self.nbytes = 0
        self._first: tuple[float, int] | None = None  # when the first batch came, and its samples
        self._last = 0.0

    def add(self, samples: int, nbytes: int) -> None:
        """A batch was written."""
        self._last = time.monotonic()
        if self._first is None:
            self._first = (self._last, samples)
        self.samples += samples
        self.nbytes += nbytes

    def per_second(self) -> float:
        """Samples/s from the first batch to the last; 0 before there are two."""
        if self._first is None or self._last <= self._first[0]:
            return 0.0
        start, skipped = self._first
        return (self.samples - skipped) / (self._last - start)

    def bytes_per_second(self) -> float:
        """The same in bytes."""
        return self.nbytes / max(self.samples, 1) * self.per_second()
