"""From pytest-benchmark's JSON to the tables of benchmarks/README.md.

    python -m pytest benchmarks/test_reader_peers.py --benchmark-enable --benchmark-json=run.json
    python benchmarks/report.py run.json --save benchmarks/results/reader_peers.json
    python benchmarks/report.py benchmarks/results/*.json --into benchmarks/README.md

It reads what pytest-benchmark wrote, or what `--save` kept of it: date, machine, versions,
command, load, and each case with its median and its `extra_info`. A table goes between
`<!-- table NAME -->` and `<!-- end -->`; NAME is that of the result's file. Without `--into` it is
printed.
"""

import argparse
import json
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = [
    *("numpy", "numba", "zstandard", "opencv-python-headless", "scikit-image", "torch", "zarr"),
    *("mosaicml-streaming", "litdata", "webdataset", "grain", "array_record", "h5py", "datasets"),
]
SENTENCES = {  # of cases with a table of their own
    "idle": "PyTorch, steps of 5 ms ({step}, {store} masks): idle {idle_share:.1%} of the time.",
    "first": "First batch of 10^6 samples in 1,000 shards: {first_batch_ms} ms.",
    "import": "`import {module}`: {import_ms} ms beyond NumPy.",
    "memory": "Memory over {minutes:g} minutes ({batches:,} batches of {batch_mb:g} MB): "
    "{first_tenth_mb} MB in the first tenth, {last_tenth_mb} MB in the last, {most_mb} MB at most; "
    "batches in flight and caches may take {bound_mb} MB.",
}
HIDDEN = {"table", "load", "note", "bound", "limit"}  # of every case alike, or said in words


def kept(raw):
    """What is worth keeping of a run, without names of machines and folders."""
    if "cases" in raw:
        return raw
    cpu = raw["machine_info"].get("cpu", {})
    cases = raw["benchmarks"]
    file = cases[0]["fullname"].split("::")[0].rsplit("/", 1)[-1]
    loads = [c["extra_info"]["load"] for c in cases if "load" in c["extra_info"]]
    python = raw["machine_info"]["python_version"]
    return {
        "date": raw["datetime"][:16].replace("T", " "),
        "machine": f"{cpu.get('brand_raw', '')}, {cpu.get('count', '?')} cores, Python {python}",
        "versions": {p: v for p in PACKAGES if (v := _version(p))},
        "commit": (raw.get("commit_info") or {}).get("id", "")[:10],
        "command": f"python -m pytest benchmarks/{file} --benchmark-enable",
        "load": round(max(loads), 2) if loads else None,
        "cases": [
            {
                "name": c["name"],
                "rounds": c["stats"]["rounds"],
                "median_s": c["stats"]["median"],
                "spread": round((c["stats"]["q3"] - c["stats"]["q1"]) / c["stats"]["median"], 3),
                **c["extra_info"],
            }
            for c in cases
        ],
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def table(run):
    """Markdown of a run: said how, then a table of its cases."""
    load = "" if run["load"] is None else f", load at most {run['load']}"
    lines = [f"{run['date']} UTC, {run['machine']}{load}. `{run['command']}`", ""]
    rest = [c for c in run["cases"] if c.get("table") not in ("reader", *SENTENCES)]
    for workload in dict.fromkeys(c["workload"] for c in run["cases"] if "workload" in c):
        mine = [c for c in run["cases"] if c.get("workload") == workload]
        lines += [f"**{workload}**", "", *_reader(mine), ""]
    for c in run["cases"]:
        if c.get("table") in SENTENCES:
            lines += [SENTENCES[c["table"]].format(**c), ""]
    if rest:
        lines += [*_general(rest), ""]
    return "\n".join(lines)


def _reader(cases):
    """Rates beside each other; the last column is our raw store's later epochs over each."""
    ours = [c for c in cases if c.get("store") == "raw" and c.get("how") == "first-later"]
    best = ours[0]["samples_per_s"] if ours else None
    rows = []
    for c in sorted(cases, key=lambda c: -c["samples_per_s"]):
        cold = "cold" in str(c.get("how"))
        if "peer" in c:
            what = f"{c['peer']}, {c['workers']} workers"
            more = c["shuffle"]
        elif "store" in c:
            what, more = f"**voxelmill**, {c['store']} masks, {c['how']}", "exact"
        else:
            what, more = "gather from memory", "exact"
        if cold:
            more = c["how"].split(", ")[1]
        share = f"{c['limit_share']:.0%}" + (" of sequential" if cold else "")
        times = f"{best / c['samples_per_s']:.1f}" if best and not cold else ""
        rows.append(
            [what, more, f"{c['samples_per_s']:,.0f}", f"{c['GB_per_s']:.2f}", share, times]
        )
    heads = ["reader", "shuffle", "samples/s", "GB/s", "of the limit", "ours / this"]
    return _markdown(heads, rows)


def _general(cases):
    """Median time, and every plain figure of the cases."""
    keys = [
        k
        for c in cases
        for k, v in c.items()
        if k not in HIDDEN | {"name", "rounds", "median_s", "spread"}
        and isinstance(v, int | float | str)
    ]
    keys = list(dict.fromkeys(keys))
    rows = [
        [
            c["name"].removeprefix("test_"),
            _time(c["median_s"]),
            str(c["rounds"]),
            *(_cell(c.get(k)) for k in keys),
        ]
        for c in cases
    ]
    return _markdown(["case", "median", "rounds", *(k.replace("_", " ") for k in keys)], rows)


def _cell(value):
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _time(seconds):
    unit, scale = ("s", 1) if seconds >= 1 else ("ms", 1e-3) if seconds >= 1e-3 else ("us", 1e-6)
    return f"{seconds / scale:.3g} {unit}"


def _markdown(heads, rows):
    rule = ["---"] * len(heads)
    return ["| " + " | ".join(row) + " |" for row in (heads, rule, *rows)]


def put(readme, tables):
    """The README with its tables replaced. Exits where a name has no place in it."""
    for name, text in tables.items():
        place = re.compile(rf"(<!-- table {re.escape(name)} -->\n).*?(<!-- end -->)", re.S)
        if not place.search(readme):
            sys.exit(
                f"no '<!-- table {name} -->' ... '<!-- end -->' in the file; add the two lines"
            )
        readme = place.sub(lambda m, text=text: f"{m[1]}\n{text}\n{m[2]}", readme)
    return readme


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--save", type=Path, help="keep the figures of one run here")
    parser.add_argument("--into", type=Path, help="put the tables into this file")
    words = parser.parse_args()
    found = {f.stem: json.loads(f.read_text()) for f in words.files}
    # benchmarks/results holds other figures too
    runs = {name: kept(raw) for name, raw in found.items() if {"cases", "machine_info"} & set(raw)}
    if not runs:
        sys.exit("none of these files is a run of pytest-benchmark, nor what --save kept of one")
    if words.save is not None:
        if len(runs) != 1:
            sys.exit("--save keeps one run; name one file")
        words.save.write_text(json.dumps(next(iter(runs.values())), indent=1) + "\n")
        runs = {words.save.stem: next(iter(runs.values()))}
    tables = {name: table(run) for name, run in runs.items()}
    if words.into is not None:
        words.into.write_text(put(words.into.read_text(), tables))
    else:
        for name, text in tables.items():
            print(f"## {name}\n\n{text}")


if __name__ == "__main__":
    main()
