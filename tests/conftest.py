"""What all tests share: where ../shared is, slow tests, and why tests were skipped."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
ALLOWED_SKIPS = re.compile(r"GPU|\.\./shared|slow")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ../shared with real data; tests that want it skip without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip("../shared is not beside this checkout")
    return SHARED


_skips: Counter = Counter()


def pytest_runtest_logreport(report):
    if report.skipped and isinstance(report.longrepr, tuple):
        _skips[report.longrepr[2].removeprefix("Skipped: ")] += 1


def pytest_sessionfinish(session, exitstatus):
    strict = os.environ.get("VOXELMILL_STRICT_SKIPS")
    if strict and any(not ALLOWED_SKIPS.search(reason) for reason in _skips):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    for reason, n in sorted(_skips.items()):
        allowed = "" if ALLOWED_SKIPS.search(reason) else " (not an allowed reason)"
        terminalreporter.write_line(f"skipped {n}: {reason}{allowed}")
