"""Who makes which shards now: a run of shards is owned, not the store.

It saves work done twice; that a shard is right never rests on it, since two writers of one shard
use names of their own and make the same bytes. A record `owners/<first>-<last>-<token>.json`
stands there while its run is made; a record is stale, and removed by whoever meets it, when its
process has ended on this host, or when it has not beaten for ten minutes elsewhere.
"""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event, Thread

from voxelmill.engine.errors import OwnedError
from voxelmill.engine.files import write_atomic, write_errors
from voxelmill.engine.process import Process, this_process

BEAT_SECONDS = 30.0
STALE_SECONDS = 600.0


@dataclass(frozen=True)
class Owner:
    """Who makes shards `first` to `last`, both in. start, beat: seconds since 1970."""

    process: Process
    first: int
    last: int
    start: float
    beat: float
    token: str

    @property
    def file_name(self) -> str:
        """Of its record in `owners/`."""
        return f"{self.first}-{self.last}-{self.token}.json"

    def overlaps(self, first: int, last: int) -> bool:
        """Whether it holds one of the shards `first` to `last`."""
        return self.first <= last and first <= self.last

    def stale(self) -> bool:
        """Whether nobody stands behind it any more."""
        if self.process.here():
            return self.process.gone()
        return time.time() - self.beat > STALE_SECONDS


@contextmanager
def own(path: str | Path, first: int, last: int, take_over: bool = False) -> Iterator[Owner]:
    """Hold the shards `first` to `last` (both in) of the store at `path`, beating in a thread.

    Raises OwnedError if a live mill holds one of them; take_over removes its record instead.
    """
    folder, now = Path(path) / "owners", time.time()
    mine = Owner(this_process(), first, last, now, now, secrets.token_hex(6))
    try:
        with write_errors(folder, 0):
            _refuse_others(folder, mine, take_over)
            _write(folder, mine)
        # Two that came at once see each other now; the earlier stays.
        _refuse_others(folder, mine, take_over, only_earlier=True)
        stop = Event()
        thread = Thread(target=_beat, args=(folder, mine, stop), daemon=True, name="owner-beat")
        thread.start()
        try:
            yield mine
        finally:
            stop.set()
            thread.join()
    finally:
        (folder / mine.file_name).unlink(missing_ok=True)
        with suppress(OSError):  # not there, or others hold theirs
            folder.rmdir()


def owners(path: str | Path) -> list[Owner]:
    """The live owners of shards of the store; records of stale ones are removed."""
    folder, live = Path(path) / "owners", []
    for file in sorted(folder.glob("*.json")):
        owner = _read(file)
        if owner is None:
            continue
        if owner.stale():
            file.unlink(missing_ok=True)
        else:
            live.append(owner)
    return live


def _refuse_others(folder: Path, mine: Owner, take_over: bool, only_earlier: bool = False) -> None:
    for other in owners(folder.parent):
        if other.token == mine.token or not other.overlaps(mine.first, mine.last):
            continue
        if only_earlier and (other.start, other.token) > (mine.start, mine.token):
            continue
        if not take_over:
            raise OwnedError(_refusal(folder.parent, other))
        (folder / other.file_name).unlink(missing_ok=True)


def _refusal(store: Path, other: Owner) -> str:
    who, ago = other.process, max(0.0, time.time() - other.beat)
    return (
        f"{store}: shards {other.first} to {other.last} are being made by process {who.pid} on "
        f"{who.host}, last heard of {ago:.0f} s ago; wait until it has ended, choose other shards "
        "with --shards, or take these over with --take-over if you know that it is dead"
    )


def _beat(folder: Path, mine: Owner, stop: Event) -> None:
    """Renew the record until told to stop, or until another has taken the shards over."""
    while not stop.wait(BEAT_SECONDS):
        if not (folder / mine.file_name).exists():
            return
        with suppress(OSError):  # a full disk must not end the mill here: the next beat may work
            _write(folder, replace(mine, beat=time.time()))


def _write(folder: Path, owner: Owner) -> None:
    for _ in range(3):
        folder.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another owner has just removed the empty folder
            write_atomic(folder / owner.file_name, json.dumps(asdict(owner), indent=1).encode())
            return
    write_atomic(folder / owner.file_name, json.dumps(asdict(owner), indent=1).encode())


def _read(file: Path) -> Owner | None:
    """The record in `file`; None for what is gone or no record, which holds nothing."""
    try:
        json_ = json.loads(file.read_bytes())
        return Owner(**{**json_, "process": Process(**json_["process"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
