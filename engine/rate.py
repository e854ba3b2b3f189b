"""How fast samples are made."""

import time

LEAST_SECONDS, LEAST_BATCHES = 2.0, 3


class Rate:
    """Samples and bytes so far, and samples/s of steady work: compiling is not counted.

    Steady work starts when the first batch has been rendered, if `begin` says so, and else when
    it was written. The later is too late by the batches that already wait for the writer, which
    tells in a short run.
    """

    def __init__(self) -> None:
        self.samples = self.nbytes = 0
        self._begin: float | None = None
        self._first = self._batches = 0  # samples of the first batch; batches after it
        self._last = 0.0

    def begin(self) -> None:
        """The first batch has been rendered; of several processes, the first of any."""
        if self._begin is None:
            self._begin = time.monotonic()

    def add(self, samples: int, nbytes: int) -> None:
        """A batch was written."""
        self._last = time.monotonic()
        if self.samples:
            self._batches += 1
        else:
            self._first = samples
            self._begin = self._last if self._begin is None else self._begin
        self.samples += samples
        self.nbytes += nbytes

    def per_second(self) -> float:
        """Samples/s after the first batch; 0 before 2 s and 3 batches, which would tell nothing."""
        if self._begin is None or self._batches < LEAST_BATCHES:
            return 0.0
        seconds = self._last - self._begin
        return (self.samples - self._first) / seconds if seconds >= LEAST_SECONDS else 0.0

    def bytes_per_second(self) -> float:
        """The same in bytes."""
        return self.nbytes / max(self.samples, 1) * self.per_second()
