"""What a spec will make and cost, known before any work starts; and the job that makes it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxelmill.engine.description import Description
from voxelmill.engine.device_class import device_class, versions
from voxelmill.engine.errors import SpecError
from voxelmill.engine.layout import ROWS
from voxelmill.engine.mill import CHANNEL_BYTES, Job, batch_size
from voxelmill.engine.params import param_columns
from voxelmill.engine.sample import Field, Ragged
from voxelmill.engine.spec import (
    Spec,
    content_digest,
    from_dict,
    layout_digest,
    read_spec,
    spec_dict,
)

MOST_SAMPLES = 1024
MOST_SHARD_BYTES = 320 << 20
MOST_MEMORY_BYTES = 3 << 29  # 1.5 GiB
SHARE_OF_MEMORY = 0.75  # of the machine's, that rendering may take
# Label maps are mostly background: zstd 1 makes 1/200 to 1/340 of the published scenes at 512 x 512
# and 1/30 at 96 x 96; a plan counts with 1/32.
LABEL_SHARE = 1 / 32
# Peak memory of cxr_objects, with a slow disk so that all queues are full, MiB: 400 at 256 x 256,
# 572 at 512, 625 at 1024; 860 at 512 where kernels are compiled. Estimates are a little above.
PROCESS_BYTES = 300 << 20  # an interpreter with NumPy, SciPy and the compiled kernels
COMPILER_BYTES = 300 << 20  # in addition where the cache of kernels is empty; in one process
PARENT_BYTES = 200 << 20  # one that only listens to workers
BATCHES_HELD = 4.5  # of a micro-batch's arrays: being rendered, waiting, being packed
CHANNELS_HELD = 1.5  # of the bytes that the two channels hold at most in addition


@dataclass(frozen=True)
class Plan:
    """A spec with its recipe and inputs opened: what will be made, and all that `make` needs.

    sample_bytes: array -> bytes of a sample on disk, label maps by estimate.
    """

    spec: Spec
    inputs: Any
    description: Description
    sample_bytes: dict[str, int]

    @property
    def total_bytes(self) -> int:
        """Bytes on disk."""
        return sum(self.sample_bytes.values()) * self.description.count

    @property
    def files(self) -> int:
        """Files on disk: a shard file an array, a commit record a shard, metadata."""
        arrays = len(self.sample_bytes) + sum(
            isinstance(f, Ragged) for f in self.description.fields
        )
        return self.description.shards * (arrays + 1) + arrays + 2

    def memory_bytes(self, workers: int = 1) -> int:
        """Peak memory by estimate, all processes together."""
        dense = [f for f in self.description.fields if isinstance(f, Field)]
        batches = BATCHES_HELD * sum(f.nbytes for f in dense) * self.job("").batch
        each = PROCESS_BYTES + batches + CHANNELS_HELD * CHANNEL_BYTES
        each += self.input_bytes + self.working_bytes + held_bytes(self.description)
        return int(each) * workers + COMPILER_BYTES + (PARENT_BYTES if workers > 1 else 0)

    @property
    def input_bytes(self) -> int:
        """The most that a process keeps of its inputs, as these say."""
        held = getattr(self.inputs, "held_bytes", None)
        return int(held(self.description.fields)) if held else 0

    @property
    def working_bytes(self) -> int:
        """What the recipe says that it holds while it renders, beside its inputs and arrays."""
        held = getattr(self.spec.module, "working_bytes", None)
        return int(held(self.spec.ranges)) if held else 0

    def job(self, path: Any, batch: int | None = None) -> Job:
        """What a process needs to make shards of this in `path`, `batch` samples at once."""
        d, spec = self.description, self.spec
        batch = batch or min(batch_size(d.fields), d.samples_per_shard)
        return Job(path, spec.module, spec.ranges, spec.seed, self.inputs, d, batch)


def open_plan(
    source: str | Path | Spec,
    overrides: Sequence[str] = (),
    recipe_file: str | Path | None = None,
    skip_bad: bool = False,
) -> Plan:
    """Read and check a spec and its inputs; SpecError or SourceError tell all that is wrong."""
    if isinstance(source, Spec):
        if overrides or recipe_file:
            raise ValueError(
                f"overrides {overrides} and recipe_file {recipe_file} are for the file or "
                "text of a spec; give one, or change the Spec with dataclasses.replace"
            )
        # As from a file: checked, and words in the one order in which they are drawn, whatever
        # the order in which a program gave them.
        spec = from_dict(spec_dict(source), source.folder, source.recipe_file)
    else:
        spec = read_spec(source, overrides, recipe_file)
    recipe: Any = spec.module
    inputs = None
    if hasattr(recipe, "Inputs"):
        inputs = recipe.open_inputs(spec.inputs, spec.folder, skip_bad)
    if hasattr(recipe, "check_opened"):
        recipe.check_opened(spec.ranges, inputs)
    fields, columns = tuple(recipe.fields(spec.ranges, inputs)), param_columns(recipe, inputs)
    per_shard = spec.samples_per_shard or default_samples_per_shard(fields)
    digest = inputs.digest if inputs is not None else ""
    description = Description(
        count=spec.count,
        samples_per_shard=per_shard,
        fields=fields,
        columns=columns,
        spec=spec_dict(spec),
        content_digest=content_digest(spec, digest, recipe.VERSION),
        layout_digest=layout_digest(per_shard, fields, spec.store),
        recipe=spec.recipe,
        recipe_version=recipe.VERSION,
        device_class=device_class(),
        inputs={} if inputs is None else {"digest": digest, "subjects": list(inputs.subjects)},
        versions=versions(),
    )
    plan = Plan(spec, inputs, description, sample_bytes(fields, len(columns), spec))
    _check_memory(plan)
    return plan


def sample_bytes(fields: Sequence[Field | Ragged], columns: int, spec: Spec) -> dict[str, int]:
    """Array -> bytes of a sample on disk; label maps and rows are estimates."""
    sizes = {"params": 8 * columns}
    for f in fields:
        if isinstance(f, Ragged):
            sizes[f.name] = 4 + _row_bytes(f) * _usual_rows(f) // 4
        elif f.is_label and spec.store.labels == "zstd":
            sizes[f.name] = 20 + int(f.nbytes * LABEL_SHARE)
        else:
            sizes[f.name] = 20 + f.nbytes
    return sizes


def _row_bytes(f: Ragged) -> int:
    itemsize = 4 if f.dtype.endswith("32") else 8
    return itemsize * len(f.columns)


def _usual_rows(f: Ragged) -> int:
    return max(1, min(f.most, 512) // 2)


def held_bytes(description: Description) -> int:
    """What a writer holds until a shard's commit: indexes and parameters; samples go to disk."""
    ragged = [f for f in description.fields if isinstance(f, Ragged)]
    dense = len(description.fields) - len(ragged)
    rows = sum(48 + 32 * f.most // ROWS for f in ragged)  # where they start, and their chunks
    each = 32 + 16 * len(description.columns) + 32 * dense + rows
    return description.samples_per_shard * each


def default_samples_per_shard(fields: Sequence[Field | Ragged]) -> int:
    """The largest power of two up to 1,024 that keeps shard files at most 320 MiB.

    Samples are written as they come, so that what a writer holds (indexes, parameters) bounds
    nothing before the files do.
    """
    n, dense = MOST_SAMPLES, [f for f in fields if isinstance(f, Field)]
    most = max((f.nbytes * (LABEL_SHARE if f.is_label else 1) for f in dense), default=0)
    while n > 1 and n * most > MOST_SHARD_BYTES:
        n //= 2
    return n


def _check_memory(plan: Plan) -> None:
    """What the stages hold is bounded; what a recipe needs for a sample, by the machine alone."""
    d = plan.description
    need = plan.memory_bytes() - plan.working_bytes
    if need > MOST_MEMORY_BYTES:
        fit = default_samples_per_shard(d.fields)
        without = need - held_bytes(d)
        what, cure = "a sample of these fields", "make its arrays smaller"
        if d.samples_per_shard > fit and without < MOST_MEMORY_BYTES:
            what, cure = (
                f"samples_per_shard {d.samples_per_shard}",
                f"set samples_per_shard to {fit}",
            )
        raise SpecError(
            f"{what} would need about {need / 2**30:.1f} GiB of memory, above "
            f"{MOST_MEMORY_BYTES / 2**30} GiB; {cure}"
        )
    check_rendering(plan)


def check_rendering(plan: Plan, workers: int = 1) -> None:
    """Raise SpecError where what `workers` processes render passes 3/4 of this machine's memory."""
    need, there = plan.memory_bytes(workers), memory_here()
    if plan.working_bytes and need > SHARE_OF_MEMORY * there:
        cure = "make its arrays smaller, or with fewer parts, coils or the like"
        processes = f" in {workers} processes" if workers > 1 else ""
        raise SpecError(
            f"rendering a sample of these fields{processes} would need about "
            f"{need / 2**30:.1f} GiB of memory, and this machine has "
            f"{there / 2**30:.1f} GiB, of which {SHARE_OF_MEMORY:.0%} may be taken; "
            f"{'run fewer workers, or ' * (workers > 1)}{cure}"
        )


def memory_here() -> int:
    """Bytes of memory that processes here may use: the machine's, or the container's if less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        bound = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return whole
    return min(whole, int(bound)) if bound.isdecimal() else whole


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))
