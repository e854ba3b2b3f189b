"""Who a process is, so that what it left behind can be told from what a live one holds."""

import os
import socket
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Process:
    """A process on a host: its boot and its start tell it from a later one with the same number.

    started: clock ticks after boot, 0 where the system does not say.
    """

    host: str
    boot_id: str
    pid: int
    started: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def here(self) -> bool:
        """Whether it ran on this host, so that `gone` can be asked."""
        return self.host == socket.gethostname()

    def gone(self) -> bool:
        """Whether a process of this host has ended: other boot, no such number, or a later one."""
        if self.boot_id != boot_id():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and another user's
        return bool(self.started) and started(self.pid) != self.started


def this_process() -> Process:
    """The process that asks; asked anew after a fork."""
    pid = os.getpid()
    return Process(socket.gethostname(), boot_id(), pid, started(pid))


@cache
def boot_id() -> str:
    """The random name of this boot; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def started(pid: int) -> int:
    """When `pid` started, in ticks after boot; 0 where the system does not say or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat[stat.rindex(")") + 2 :].split()  # the name before may hold spaces and brackets
    return 0 if fields[0] in "ZX" else int(fields[19])
