"""What a read through TensorStore can meet, said once: what happened, to which file, and the cure.

TensorStore raises ValueError with an absl code as its first word, and HTTP status and libcurl's
code behind. Secrets that the environment holds are struck out of what is repeated from it.
"""

import os
import re

from voxelmill.engine.errors import StoreError

_STATUS = re.compile(r"(?:HTTP code |http_response_code=.)(\d{3})")
_CURL = re.compile(r"curl_code='?(\d+)")
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_SIGNED = re.compile(r"(?i)(x-amz-[a-z-]+|signature|authorization|token)(\s*[=:]\s*)[^\s&]+")
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_DAMAGE = ("DATA_LOSS", "OUT_OF_RANGE", "FAILED_PRECONDITION", "INVALID_ARGUMENT")
_TIMED_OUT, _NO_HOST, _NO_CONNECTION = 28, (5, 6), (7,)


class AbsentError(StoreError, FileNotFoundError):
    """A file that is not there."""


class DamagedError(StoreError):
    """A file that is there and holds something else than was written."""


class RemoteError(StoreError):
    """A server that refuses, fails or does not answer. `status`: of HTTP, where there was one."""

    status: int | None = None


def explained(error: Exception, url: str, waited_s: float = 0.0) -> StoreError:
    """What `error` of TensorStore means for `url`; waited_s: how long an answer was waited for."""
    if isinstance(error, StoreError):
        return error
    text = without_secrets(str(error))
    if isinstance(error, TimeoutError):
        return RemoteError(
            f"{url}: no answer within {waited_s:g} s; look whether the server is up and the "
            "network fast enough, then go on from the last state"
        )
    status = int(found[1]) if (found := _STATUS.search(text)) else None
    code = text.partition(":")[0].strip()
    if status in (401, 403) or code in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
        return _remote(
            f"{url}: the server refuses to give it ({status or 403}); look whether the "
            "credentials are the right ones (AWS_PROFILE, AWS_ACCESS_KEY_ID, application default "
            "credentials) and may read it",
            status or 403,
        )
    if code == "NOT_FOUND" or status == 404:
        return AbsentError(f"{url} is missing (404)")
    if "was ignored by server" in text:
        return _remote(
            f"{url}: the server ignores range requests; take one that answers them (nginx, Apache, "
            "Caddy; Python's http.server does not)",
            None,
        )
    if code in _DAMAGE:
        return DamagedError(f"{url} is damaged ({_short(text)})")
    if status:
        return _remote(
            f"{url}: the server answers {status}, also when asked again; try later, or look at "
            f"the server's log ({_short(text)})",
            status,
        )
    return _unreached(text, url)


def _unreached(text: str, url: str) -> StoreError:
    curl = int(found[1]) if (found := _CURL.search(text)) else 0
    if curl in _NO_HOST:
        return _remote(f"{url}: there is no such host; look at the address", None)
    if curl in _NO_CONNECTION:
        return _remote(
            f"{url}: nobody answers there; look at the address, the port and whether the server "
            "is up",
            None,
        )
    what = "the server stalls" if curl == _TIMED_OUT else "the connection breaks"
    cure = "look at the server and the network, then go on from the last state"
    return _remote(f"{url}: {what}, also when asked again; {cure} ({_short(text)})", None)


def without_secrets(text: str) -> str:
    """`text` without what the environment or a URL keeps secret."""
    for name in _SECRETS:
        if value := os.environ.get(name):
            text = text.replace(value, "***")
    return _SIGNED.sub(r"\1\2***", _USER.sub("***@", text))


def _remote(message: str, status: int | None) -> RemoteError:
    error = RemoteError(message)
    error.status = status
    return error


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else text[:most] + " ..."
