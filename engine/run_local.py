"""Run the shards of a store on this machine: in this process, or in spawned workers."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxelmill.engine import store
from voxelmill.engine.errors import StoreError, VoxelmillError
from voxelmill.engine.location import Location
from voxelmill.engine.mill import Clock, mill
from voxelmill.engine.owner import own
from voxelmill.engine.plan import Plan, check_rendering, open_plan
from voxelmill.engine.rate import Rate
from voxelmill.engine.spec import Spec
from voxelmill.engine.split import empty_parts
from voxelmill.engine.workers import refuse_unguarded, run_workers

# (new samples, their bytes, what is being done now if there are none)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Made:
    """What a call of `make` did: new samples and bytes, in how many seconds.

    per_second: samples/s after the first batch was rendered, so that compiling is not counted;
    `samples / seconds` where that was too short (2 s, 3 batches) to tell. stages: seconds that
    each stage worked, all processes together.
    """

    path: Path
    count: int
    samples: int
    nbytes: int
    seconds: float
    per_second: float
    stages: dict[str, float] = field(default_factory=dict)


class Interrupted(VoxelmillError, KeyboardInterrupt):
    """Ctrl-C: what is committed stays."""


def make(
    source: str | Path | Spec | Plan,
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    recipe_file: str | Path | None = None,
    workers: int = 1,
    shards: range | None = None,
    take_over: bool = False,
    skip_bad: bool = False,
    mixed: bool = False,
    batch: int | None = None,
    progress: Progress = lambda samples, nbytes, doing: None,
) -> Made:
    """Make the store of a spec at `path`, or what is missing of it.

    The same call after a kill goes on where it stopped; a larger count grows the store. `shards`
    makes only a run of them, for several machines on one store; the last of them says that the
    store is whole. `batch`: samples rendered at once. Raises SpecError, SourceError, StoreError
    (another spec's store, no space), OwnedError (another mill on the same shards), Interrupted,
    and UnguardedError in a script whose call is not under `if __name__ == "__main__":`.
    """
    refuse_unguarded()
    if isinstance(source, Plan):
        if overrides or recipe_file is not None:
            raise ValueError("overrides and recipe_file go into open_plan; a Plan is ready made")
        plan = source
    else:
        plan = open_plan(source, overrides, recipe_file, skip_bad)
        for note in empty_parts(plan.spec.split, plan.inputs):  # of a plan, `plan` tells
            warnings.warn(note, stacklevel=2)
    path = _folder(path)
    if workers < 1 or (batch is not None and batch < 1):
        raise ValueError(f"workers {workers} and batch {batch} must be 1 or more")
    check_rendering(plan, workers)
    start = time.monotonic()
    run = _asked(plan, path, shards)
    _open(plan, path, mixed)
    rate, stages = Rate(), {}

    def made(samples: int, nbytes: int) -> None:
        rate.add(samples, nbytes)
        progress(samples, nbytes, "")

    with own(path, run[0], run[-1], take_over):
        store.remove_leftovers(path)
        missing = [s for s in store.missing(path) if s in run]
        if missing:
            progress(0, 0, "compiling kernels, or loading them")
            stages = _run(plan, path, missing, workers, batch, made, rate.begin)
        if not store.missing(path):
            store.finish(path)
    seconds = time.monotonic() - start
    count = plan.description.count
    per_second = rate.per_second() or rate.samples / seconds
    return Made(path, count, rate.samples, rate.nbytes, seconds, per_second, stages)


def missing_samples(plan: Plan, path: str | Path, shards: range | None = None) -> int:
    """How many samples `make` would still have to make."""
    return sum(map(plan.description.samples_in, missing_shards(plan, path, shards)))


def missing_shards(plan: Plan, path: str | Path, shards: range | None = None) -> list[int]:
    """The shards that `make` would still have to make, those to be made anew among them."""
    d, whole = plan.description, set()
    if (Path(path) / "zarr.json").exists():
        there, lacking = store.read_description(path), set(store.missing(path))
        both = range(min(d.shards, there.shards))
        # after growth the last shard, if it was not full, is made again
        whole = {s for s in both if s not in lacking and d.samples_in(s) == there.samples_in(s)}
    run = range(d.shards) if shards is None else shards
    return [s for s in run if 0 <= s < d.shards and s not in whole]


def _folder(path: str | Path) -> Path:
    """Where to make the store; a URL is refused, with no secret that stands in it."""
    place = Location(path)
    if not place.is_local:
        raise StoreError(
            f"{place}: a store is made in a folder of this machine; make it there with -o, then "
            "copy it"
        )
    return place.path


def _asked(plan: Plan, path: Path, shards: range | None) -> range:
    """The shards to make, checked."""
    everything = range(plan.description.shards)
    run = everything if shards is None else shards
    if not run or run[0] < 0 or run[-1] >= len(everything):
        raise StoreError(
            f"shards {run.start}:{run.stop} are not some of the {len(everything)} shards of {path}:"
            f" name them as first:stop within 0:{len(everything)}"
        )
    return run


def _open(plan: Plan, path: Path, mixed: bool) -> None:
    """Create the store, or check that it is this spec's and grow it."""
    if not (path / "zarr.json").exists():
        store.create(path, plan.description)  # or keep the shards of one that lost this file
    there, here = store.read_description(path), plan.description
    if there.device_class != here.device_class and not mixed:
        raise StoreError(
            f"{path} was made on {there.device_class!r}, this is {here.device_class!r}: samples "
            "would differ by rounding; go on there, or allow it with --mixed"
        )
    store.grow(path, here)  # or only complete it; refuses another spec's store and fewer samples


def _run(
    plan: Plan,
    path: Path,
    shards: list[int],
    workers: int,
    batch: int | None,
    made: Callable[[int, int], None],
    begun: Callable[[], None],
) -> dict[str, float]:
    """Make `shards`; the seconds of each stage."""
    try:
        if workers == 1 or len(shards) == 1:
            job, clock = plan.job(path, batch), Clock()
            mill(job, shards, made, clock, begun)
            return clock.seconds
        return run_workers(plan, path, shards, min(workers, len(shards)), batch, made, begun)
    except KeyboardInterrupt:
        left = len(store.missing(path))
        raise Interrupted(
            f"stopped: {plan.description.shards - left} of {plan.description.shards} shards of "
            f"{path} are committed; run the same command again to go on"
        ) from None
