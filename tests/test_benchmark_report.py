"""benchmarks/report.py: what a run of pytest-benchmark becomes, and where it goes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPORT = Path(__file__).resolve().parents[1] / "benchmarks" / "report.py"


MEMORY = {
    "minutes": 0.1,
    "batch_mb": 16.8,
    "bound_mb": 99.5,
    "first_tenth_mb": 1.5,
    "last_tenth_mb": 2.5,
    "most_mb": 3.5,
}


def case(name, median, **extra):
    stats = {"rounds": 3, "median": median, "q1": median * 0.9, "q3": median * 1.1}
    return {"name": name, "fullname": f"benchmarks/test_x.py::{name}", "stats": stats} | {
        "extra_info": extra
    }


def rate(per_s, **more):
    figures = {"samples_per_s": per_s, "GB_per_s": 2.0, "limit_share": per_s / 10_000}
    return {"table": "reader", "workload": "films", "load": 0.4} | figures | more


@pytest.fixture
def run(tmp_path):
    """A run as pytest-benchmark writes it."""
    cases = [
        case("test_gather[films]", 1.0, **rate(10_000)),
        case("test_ours[a]", 1.0, **rate(9_000, store="raw", how="first-later")),
        case("test_cold[shard]", 1.0, **rate(4_000, store="raw", how="cold, shard")),
        case("test_peer[p]", 1.0, **rate(3_000, peer="p", workers=2, shuffle="exact")),
        case("test_idle", 1.0, table="idle", idle_share=0.0123, step="sleeping", store="raw"),
        case("test_first", 0.1, table="first", first_batch_ms=12.5),
        case("test_import[a]", 0.1, table="import", module="a.b", import_ms=77),
        case("test_memory", 6.0, table="memory", batches=1234, **MEMORY),
        case("test_draw[fine]", 0.00123, us_each=2.5, stages={"a": 1}),
    ]
    file = tmp_path / "run.json"
    machine = {"node": "secret", "python_version": "3.11", "cpu": {"brand_raw": "C", "count": 2}}
    raw = {"datetime": "2026-01-02T03:04:05", "machine_info": machine, "benchmarks": cases}
    file.write_text(json.dumps(raw | {"commit_info": {"id": "0123456789abcdef"}}))
    return file


def report(*words):
    words = [sys.executable, REPORT, *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_tables_say_when_where_and_how(run):
    out = report(run).stdout
    assert "2026-01-02 03:04 UTC, C, 2 cores, Python 3.11, load at most 0.4" in out
    assert "`python -m pytest benchmarks/test_x.py --benchmark-enable`" in out
    assert "| p, 2 workers | exact | 3,000 | 2.00 | 30% | 3.0 |" in out
    assert (
        "| **voxelmill**, raw masks, cold, shard | shard | 4,000 | 2.00 | 40% of sequential |"
        in out
    )
    assert "steps of 5 ms (sleeping, raw masks): idle 1.2% of the time" in out
    assert "First batch of 10^6 samples in 1,000 shards: 12.5 ms." in out
    assert "`import a.b`: 77 ms beyond NumPy." in out
    assert "Memory over 0.1 minutes (1,234 batches of 16.8 MB): 1.5 MB in the first tenth" in out
    assert "2.5 MB in the last, 3.5 MB at most; batches in flight and caches may take 99.5" in out
    assert "| draw[fine] | 1.23 ms | 3 | 2.5 |" in out


def test_what_is_saved_gives_the_same_tables_and_names_no_machine(run, tmp_path):
    kept = tmp_path / "reader_peers.json"
    first = report(run, "--save", kept).stdout
    assert "secret" not in kept.read_text()
    assert report(kept).stdout == first


def test_tables_go_to_their_places(run, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Speed\n<!-- table run -->\nSTALE\n<!-- end -->\nmore\n")
    assert report(run, "--into", readme).returncode == 0
    text = readme.read_text()
    assert "STALE" not in text
    assert text.startswith("# Speed\n<!-- table run -->\n")
    assert text.endswith("<!-- end -->\nmore\n")
    report(run, "--into", readme)
    assert readme.read_text() == text
    readme.write_text("# Speed\n")
    done = report(run, "--into", readme)
    assert done.returncode == 1
    assert "<!-- table run -->" in done.stderr
