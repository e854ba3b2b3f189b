"""Endpoint, region and kind of credentials for S3, from where AWS tools keep them.

Order: environment variables, then the profile in the shared configuration file. The secrets stay
there: TensorStore reads them itself, and only the way to them is in what is returned.
"""

import os
from configparser import ConfigParser, Error
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voxelmill.engine.errors import StoreError

_DEFAULT_REGION = "us-east-1"  # what servers that are not AWS sign with unless told otherwise


def s3_settings() -> dict[str, Any]:
    """Keys for TensorStore's S3 driver: endpoint, aws_region, aws_credentials.

    Raises StoreError if the endpoint is no plain URL.
    """
    env = os.environ
    profile = env.get("AWS_PROFILE") or env.get("AWS_DEFAULT_PROFILE") or "default"
    shared, service = _profile(profile)
    endpoint = (
        env.get("AWS_ENDPOINT_URL_S3")
        or env.get("AWS_ENDPOINT_URL")
        or service.get("endpoint_url")
        or shared.get("endpoint_url")
    )
    if env.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        endpoint = None
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or shared.get("region")
    found: dict[str, Any] = {"aws_credentials": _credentials(profile)}
    if endpoint:
        found |= {"endpoint": _plain(endpoint)}
        region = region or _DEFAULT_REGION
    return found | ({"aws_region": region} if region else {})


def _credentials(profile: str) -> dict[str, Any]:
    """Which credentials; "default" looks in files, then asks the machine, then goes without."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):  # goes before a profile, as in AWS's own tools
        return {"type": "environment"}
    return {"type": "default"} | ({"profile": profile} if profile != "default" else {})


def _profile(name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The settings of a profile in the configuration file, and those of its S3 service."""
    file = Path(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()
    parser = ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read(file)
    except (Error, UnicodeDecodeError):  # its text may hold secrets: none of it is repeated
        raise StoreError(f"{file} is no valid AWS configuration; correct it") from None
    section = name if name == "default" else f"profile {name}"
    shared = dict(parser[section]) if parser.has_section(section) else {}
    services = f"services {shared.get('services', '')}"
    nested = parser.get(services, "s3", fallback="") if parser.has_section(services) else ""
    pairs = (line.partition("=") for line in nested.splitlines() if "=" in line)
    return shared, {key.strip(): value.strip() for key, _, value in pairs}


def _plain(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        host = parts.netloc.rpartition("@")[2]
        raise StoreError(
            f"the S3 endpoint {parts.scheme}://{host} is not http(s)://host:port without a user "
            "name; correct AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or endpoint_url of the profile"
        )
    return endpoint.rstrip("/")
