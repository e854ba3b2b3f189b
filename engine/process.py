"""Who a process is, so that what it left behind can be told from what a live one holds."""

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32


@dataclass(frozen=True)
class Process:
    """A process on a host: its boot and its start tell it from a later one with the same number.

    namespace: in which `pid` counts; containers of a host have their own. started: clock ticks
    after boot. All but host and pid are empty or 0 where the system does not say.
    """

    host: str
    boot_id: str
    namespace: str
    pid: int
    started: int

    @property
    def space(self) -> str:
        """Where its pid counts, in eight letters for a file name."""
        return f"{crc32(f'{self.boot_id} {self.namespace}'.encode()):08x}"

    def here(self) -> bool:
        """Whether `gone` can be asked here: it ran on this host, and not in another container."""
        same = self.boot_id != _boot_id() or self.namespace == _namespace()
        return self.host == socket.gethostname() and same

    def gone(self) -> bool:
        """Whether a process of this host has ended: other boot, no such number, or a later one."""
        if self.boot_id != _boot_id():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and another user's
        return bool(self.started) and _started(self.pid) != self.started


def this_process() -> Process:
    """The process that asks; asked anew after a fork."""
    pid = os.getpid()
    return Process(socket.gethostname(), _boot_id(), _namespace(), pid, _started(pid))


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@cache
def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> int:
    """0 too where it has ended and only waits for its parent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat[stat.rindex(")") + 2 :].split()  # the name before may hold spaces and brackets
    return 0 if fields[0] in "ZX" else int(fields[19])
