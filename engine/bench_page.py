"""What `voxelmill bench` prints for people."""

from rich.console import Console
from rich.table import Table

from voxelmill.engine.bench import SpecFigures, StoreFigures, to_json
from voxelmill.engine.words import figure


def print_figures(figures: StoreFigures | SpecFigures, out: Console) -> None:
    """The figures with their units, a line each."""
    rows = _store(figures) if isinstance(figures, StoreFigures) else _spec(figures)
    machine = to_json(figures)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(name, value)
    table.add_row("machine", f"{machine['cores']} cores, load {machine['load']}")
    out.print(table)


def _store(f: StoreFigures) -> list[tuple[str, str]]:
    return [
        ("store", f"{f.store}: {f.count:,} samples of {_bytes(f.sample_bytes)}"),
        ("first batch", f"{1000 * f.first_batch_s:.0f} ms after opening"),
        ("first epoch", f"{figure(f.first_epoch_per_s)} samples/s, each checked"),
        (
            "later epochs",
            f"{figure(f.samples_per_s)} samples/s, {figure(f.MB_per_s)} MB/s, shuffled batches of "
            f"{f.batch}",
        ),
        (
            "from memory",
            f"{figure(f.gather_per_s)} samples/s; the store gives {f.gather_share:.0%}",
        ),
        ("stalls", f"{f.stalled_share:.1%} of the time with steps of {f.step_ms:g} ms"),
    ]


def _spec(f: SpecFigures) -> list[tuple[str, str]]:
    stages = ", ".join(f"{name} {ms:.2f}" for name, ms in f.stages_ms.items())
    return [
        ("recipe", f"{f.recipe}: samples of {_bytes(f.sample_bytes)}"),
        ("first batch", f"{1000 * f.first_batch_s:.0f} ms, kernels compiled or loaded"),
        (
            "made",
            f"{figure(f.samples_per_s)} samples/s, {figure(f.MB_per_s)} MB/s, into {f.folder}",
        ),
        ("stages", f"ms a sample, side by side: {stages}"),
        (
            "as a loader",
            f"{figure(f.loader_per_s)} samples/s in batches of {f.batch}, with no store",
        ),
    ]


def _bytes(count: int) -> str:
    return f"{count / 2**20:.2f} MiB" if count >= 1 << 18 else f"{count / 2**10:.1f} KiB"
