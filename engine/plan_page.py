"""What `voxelmill plan` prints: fields, distributions, bytes, shards, files, memory and time."""

import statistics
import time
from collections import Counter
from dataclasses import fields, is_dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from voxelmill.engine.draw import Choice, Distribution, Fixed, Integer, LogUniform, TruncatedNormal
from voxelmill.engine.encode import encode
from voxelmill.engine.mill import draw_batch, render_batch
from voxelmill.engine.plan import MOST_MEMORY_BYTES, Plan, cores
from voxelmill.engine.progress import duration
from voxelmill.engine.sample import Field
from voxelmill.engine.split import portions

TIMED_SAMPLES = 64
TIMED_SECONDS = 3.0
WORKER_START_S = 4.0  # a spawned worker imports, opens its inputs and loads its kernels


def describe(value: Any) -> str:
    """A distribution in words, as short as it can be."""
    match value:
        case Choice(weights):
            total = sum(weights.values())
            return ", ".join(f"{name} {w / total:.0%}" for name, w in weights.items() if w)
        case Fixed(number):
            return f"{number:g}"
        case TruncatedNormal(low, high, mean, sd):
            return f"normal {mean:g} +- {sd:g} in [{low:g}, {high:g}]"
        case Distribution():
            low, high = value.bounds()
            kinds: dict[type, str] = {Integer: "whole", LogUniform: "loguniform"}
            return f"{kinds.get(type(value), 'uniform')} {low:g} .. {high:g}"
    return str(value)


def distributions(ranges: Any, prefix: str = "ranges") -> list[tuple[str, str, str, str]]:
    """(key, what is drawn, unit, meaning) of every range."""
    rows = []
    for f in fields(ranges):
        value, key = getattr(ranges, f.name), f"{prefix}.{f.name}"
        if is_dataclass(value) and not isinstance(value, Distribution | Choice):
            rows += distributions(value, key)
        else:
            unit = f.metadata.get("unit", "1")
            rows.append((key, describe(value), unit, f.metadata.get("meaning", "")))
    return rows


def estimate_seconds(plan: Plan, workers: int) -> float:
    """Seconds that the whole store would take: a few samples are drawn, rendered and packed.

    Without the disk. Workers share the cores, so that they gain what one process leaves idle.
    """
    job = plan.job("")

    def spent(first: int, count: int) -> tuple[float, float]:
        """Wall and processor seconds of some samples."""
        start, busy = time.perf_counter(), time.process_time()
        encode(job.description, render_batch(job, draw_batch(job, range(first, first + count))))
        return time.perf_counter() - start, time.process_time() - busy

    spent(0, 1)  # compiles
    large = min(spent(0, 1)[0], spent(1, 1)[0]) * job.batch > TIMED_SECONDS
    count = 1 if large else job.batch
    if not large:
        spent(0, count)  # compiles what the first sample did not need
    start = time.perf_counter()
    found: list[tuple[float, float]] = []
    while len(found) * count < TIMED_SAMPLES and time.perf_counter() - start < TIMED_SECONDS:
        found.append(spent(len(found) * count, count))
    # Medians: a sample that is the first to read an input takes longer.
    wall, work = (statistics.median(seconds) / count for seconds in zip(*found, strict=True))
    each = max(wall / workers, work / cores())
    return plan.description.count * each + (WORKER_START_S if workers > 1 else 0.0)


def facts(plan: Plan, workers: int, seconds: float | None) -> dict[str, Any]:
    """The plan as JSON."""
    d = plan.description
    return {
        "recipe": d.recipe,
        "recipe_version": d.recipe_version,
        "count": d.count,
        "content_digest": d.content_digest,
        "layout_digest": d.layout_digest,
        "samples_per_shard": d.samples_per_shard,
        "shards": d.shards,
        "files": plan.files,
        "bytes": plan.total_bytes,
        "bytes_a_sample": plan.sample_bytes,
        "memory_bytes": plan.memory_bytes(workers),
        "seconds": seconds,
        "inputs": len(plan.inputs.ids) if plan.inputs is not None else 0,
        "split": [vars(p) for p in portions(plan.spec.split, plan.inputs.subjects)]
        if plan.inputs is not None
        else [],
        "distributions": [
            {"key": key, "drawn": drawn, "unit": unit, "meaning": meaning}
            for key, drawn, unit, meaning in distributions(plan.spec.ranges)
        ],
    }


def main_distributions(ranges: Any) -> list[tuple[str, str, str, str]]:
    """Of `distributions`, what the spec sets otherwise than the recipe, then what is in no group.

    Of what is left, a row for each group.
    """
    rows, groups = distributions(ranges), {f.name: f for f in fields(ranges)}
    try:
        usual = {key: drawn for key, drawn, *_ in distributions(type(ranges)())}
    except TypeError:  # a recipe from outside, some ranges of which have no default
        usual = {}
    chosen = [r for r in rows if usual.get(r[0]) != r[1]]
    rest = [r for r in rows if r not in chosen]
    count = Counter(key.split(".")[1] for key, *_ in rest if key.count(".") > 1)
    return [
        *chosen,
        *(r for r in rest if r[0].count(".") == 1),
        *(
            (f"ranges.{name}", f"{n} as by default", "", groups[name].metadata.get("meaning", ""))
            for name, n in count.items()
        ),
    ]


def print_plan(
    plan: Plan, workers: int, seconds: float | None, out: Console, every: bool = False
) -> None:
    """The plan as tables. every: with all ranges, not those of `main_distributions`."""
    d = plan.description
    out.print(f"[bold]{d.recipe}[/bold] version {d.recipe_version}, seed {plan.spec.seed}")
    out.print(f"content {d.content_digest[:16]}  layout {d.layout_digest[:16]}\n")
    out.print(_field_table(plan))
    ranges = (distributions if every else main_distributions)(plan.spec.ranges)
    table = Table(box=None, header_style="bold")
    table.add_column("range", no_wrap=True, min_width=max(len(r[0]) for r in ranges))
    for name in ("drawn", "unit", "meaning"):
        table.add_column(name)
    for row in ranges:
        table.add_row(*row)
    out.print(table)
    if not every:
        out.print("`--all` lists each range, as does `voxelmill schema`\n", style="dim")
    rows = [
        ("samples", f"{d.count:,}"),
        ("inputs", _counted(len(plan.inputs.ids), plan) if plan.inputs is not None else "none"),
        *([("split", _split(plan))] if plan.inputs is not None else []),
        ("shards", f"{d.shards:,} of {d.samples_per_shard:,} samples"),
        ("files", f"{plan.files:,}"),
        ("on disk", f"about {plan.total_bytes / 1e9:.3g} GB (label maps estimated)"),
        (
            "peak memory",
            f"up to {plan.memory_bytes(workers) / 2**20:.0f} MiB with {workers} process"
            f"{'es' if workers > 1 else ''} ({_bound(plan)})",
        ),
    ]
    if seconds is not None:
        speed = plan.total_bytes / seconds / 1e6
        rows.append(("time", f"about {duration(seconds)} here, if the disk takes {speed:.0f} MB/s"))
    table = Table("", "", box=None, show_header=False)
    for name, value in rows:
        table.add_row(f"[bold]{name}[/bold]", value)
    out.print(table)


def _split(plan: Plan) -> str:
    return "; ".join(
        f"{p.part} {p.share:.3g}: {p.subjects} subject{'s' * (p.subjects != 1)}, "
        f"{_counted(p.inputs, plan)}"
        for p in portions(plan.spec.split, plan.inputs.subjects)
        if p.share > 0
    )


def _bound(plan: Plan) -> str:
    bound = f"bound {MOST_MEMORY_BYTES >> 20} MiB each"
    working = f" and {plan.working_bytes >> 20} MiB to render" if plan.working_bytes else ""
    return bound + working


def _counted(inputs: int, plan: Plan) -> str:
    """`3 films`, or what else the inputs call themselves."""
    return f"{inputs} {getattr(plan.inputs, 'noun', 'input')}{'s' * (inputs != 1)}"


def _field_table(plan: Plan) -> Table:
    table = Table("field", "type", "shape", "unit", "bytes a sample", "meaning", box=None)
    for f in plan.description.fields:
        nbytes = f"{plan.sample_bytes[f.name]:,}"
        if isinstance(f, Field):
            shape = " x ".join(f"{a} {n}" for a, n in zip(f.axes, f.shape, strict=True))
            table.add_row(f.name, f.dtype, shape, f.unit, nbytes, f.meaning)
        else:
            shape = f"0..{f.most} rows x {len(f.columns)}"
            table.add_row(f.name, f.dtype, shape, "", nbytes, f.meaning)
    columns = len(plan.description.columns)
    table.add_row("params", "float64", f"{columns}", "", f"{8 * columns}", "what was drawn once")
    return table
