"""Where a store is: a folder, or a URL that TensorStore reads (s3, gs, http, https).

A Location is its text and nothing else, so it pickles, compares and prints without a secret:
credentials, region and endpoint are looked up where they are usually kept when the store is
opened (`s3_environment.py`; application default credentials for gs), and a URL that holds some is
refused.
"""

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voxelmill.engine.errors import StoreError
from voxelmill.engine.faults import AbsentError, explained

SCHEMES = ("s3", "gs", "http", "https")
_ONE_SLASH = re.compile(rf"^((?:{'|'.join(SCHEMES)}):)/(?=[^/])", re.IGNORECASE)
FIRST_CONTACT_S = 30.0  # a wrong address shall say so soon

_READ_AHEAD = 64  # files

_FIRST = {"max_retries": 3, "initial_delay": "200ms", "max_delay": "1s"}
_LATER = {"max_retries": 10, "initial_delay": "200ms", "max_delay": "16s"}  # about 1.5 minutes

# TensorStore has no time-out for a request (google/tensorstore#291), so that a connection that
# dies silently hangs until TCP gives up. libcurl's watch over slow transfers is set this way only.
_STALLED_SECONDS, _STALLED_BYTES = "20", "1"

_used_in: int | None = None  # the process in which TensorStore's threads run


class Location:
    """The folder or the URL of a store. Raises StoreError for a URL that cannot be one."""

    def __init__(self, place: "str | Path | Location") -> None:
        text = str(place)
        if isinstance(place, Path):  # which makes one slash of two
            text = _ONE_SLASH.sub(r"\1//", text)
        scheme = text.partition("://")[0].lower() if "://" in text else ""
        if scheme == "file":
            text, scheme = text.partition("://")[2], ""
        elif scheme:
            text = _checked(scheme, text)
        self._text, self.scheme = text, scheme

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return not self.scheme

    @property
    def path(self) -> Path:
        """The folder. Raises StoreError for a URL."""
        if self.scheme:
            raise StoreError(
                f"{self} is not a folder of this machine; this needs one, so copy the store first"
            )
        return Path(self._text)

    def join(self, name: str) -> str:
        """The folder or URL of `name` inside the store, for messages."""
        return f"{self}/{name}" if self.scheme else str(self.path / name)

    def read(self, name: str) -> bytes:
        """All bytes of the file `name` inside the store.

        Raises AbsentError if there is none, else a StoreError that names the file, what happened
        and what to do. A server that does not answer is given up after FIRST_CONTACT_S.
        """
        if self.is_local:
            try:
                return (self.path / name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                raise AbsentError(f"{self.join(name)} is missing") from None
            except OSError as error:
                raise StoreError(
                    f"{self.join(name)} cannot be read ({error.strerror}); look at its permissions"
                ) from error
        found = next(self.read_many([name]))
        if found is None:
            raise AbsentError(f"{self.join(name)} is missing (404)")
        return found

    def read_many(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """The bytes of each file of a URL, None where there is none; many are asked for at once.

        Raises as `read`.
        """
        if not names:
            return
        ts = tensorstore()
        try:
            opened = ts.KvStore.open(self.kvstore(first=True)).result(timeout=FIRST_CONTACT_S)
        except (ValueError, OSError, TimeoutError) as error:
            raise explained(error, self.join(names[0]), FIRST_CONTACT_S) from None
        waiting, under_way = deque(names), deque[tuple[str, Any]]()
        while waiting or under_way:
            while waiting and len(under_way) < _READ_AHEAD:
                under_way.append((waiting[0], opened.read(waiting.popleft())))
            name, asked = under_way.popleft()
            try:
                found = asked.result(timeout=FIRST_CONTACT_S)
            except (ValueError, OSError, TimeoutError) as error:
                raise explained(error, self.join(name), FIRST_CONTACT_S) from None
            yield bytes(found.value) if found.state == "value" else None

    def kvstore(self, name: str = "", *, first: bool = False) -> dict[str, Any]:
        """The TensorStore spec of the folder `name` inside the store, without credentials.

        first: give up soon, for a first contact; else a server may be away for about 1.5 minutes.
        """
        inside = f"{name}/" if name else ""
        if self.is_local:
            return {"driver": "file", "path": f"{self.path.absolute()}/{inside}"}
        retries = _FIRST if first else _LATER
        if self.scheme in ("http", "https"):
            return {
                "driver": "http",
                "base_url": f"{self}/{inside}",
                "http_request_retries": retries,
            }
        parts = urlsplit(self._text)
        path = f"{parts.path.lstrip('/')}/{inside}".lstrip("/")
        if self.scheme == "gs":
            return {
                "driver": "gcs",
                "bucket": parts.netloc,
                "path": path,
                "gcs_request_retries": retries,
            }
        from voxelmill.engine.s3_environment import s3_settings

        return {
            "driver": "s3",
            "bucket": parts.netloc,
            "path": path,
            "s3_request_retries": retries,
            **s3_settings(),
        }

    def limits(self, requests_at_once: int) -> dict[str, Any]:
        """For a TensorStore context: how many requests all that share it have under way."""
        if self.is_local:
            return {}
        driver = {"https": "http", "gs": "gcs"}.get(self.scheme, self.scheme)
        return {f"{driver}_request_concurrency": {"limit": requests_at_once}}

    def __str__(self) -> str:
        """The path as it was given, or the URL."""
        return self._text

    def __repr__(self) -> str:
        """Stable, since loaders compare it when they resume."""
        return f"Location({self._text!r})"

    def __eq__(self, other: object) -> bool:
        """Whether both have the same text."""
        return isinstance(other, Location) and other._text == self._text

    def __hash__(self) -> int:
        """Of the text."""
        return hash(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        """The text alone."""
        return Location, (self._text,)


def tensorstore() -> Any:
    """The module TensorStore, imported when it is first needed.

    Raises StoreError in a process that was forked after TensorStore was used: it would be killed.
    """
    global _used_in
    pid = os.getpid()
    if _used_in is None:
        _used_in = pid
    if _used_in != pid:
        raise StoreError(
            f"process {pid} was forked from {_used_in} after a store had been read there, and "
            "TensorStore's threads do not survive a fork: start workers with 'spawn' or "
            "'forkserver', or read nothing before the fork, or use threads (in PyTorch, "
            "num_workers=0)"
        )
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", _STALLED_SECONDS)
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES", _STALLED_BYTES)
    import tensorstore

    return tensorstore


def _checked(scheme: str, text: str) -> str:
    """The URL without a slash at its end. Its secrets, if it has any, are in no message."""
    parts = urlsplit(text)
    shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    if scheme not in SCHEMES:
        raise StoreError(
            f"{shown}: a store is a folder or one of {', '.join(f'{s}://' for s in SCHEMES)}"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise StoreError(
            f"{shown} was given with a user name, a password, a query or a fragment: these end in "
            "logs and are not taken; keep credentials where docs/remote.md says"
        )
    if not parts.netloc:
        raise StoreError(f"{shown} names no {'host' if scheme.startswith('http') else 'bucket'}")
    return shown
