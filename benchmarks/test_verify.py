"""`voxelmill verify` whole, which is to end within a minute; once, since the first run compiles.

Run: `pytest benchmarks/test_verify.py --benchmark-enable -s`. `extra_info` has the number of rows.
What bounds it: rendering whole samples of both MR recipes, and compiling where no cache is.
"""

from voxelmill.engine.verify import suite


def test_verify(benchmark):
    """All rows, in the time of one run."""
    report = benchmark.pedantic(suite.verify, args=(suite.rows(),), rounds=1)
    assert not report.failed
    benchmark.extra_info["rows"] = len(report.outcomes)
