"""The command `voxelmill`: errors without tracebacks, progress with rates, help with examples."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from voxelmill.engine.errors import SpecError, VoxelmillError
from voxelmill.engine.version import VERSION
from voxelmill.engine.words import counted, figure

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make labelled synthetic medical images, and read them at memory speed.\n\n"
    "[bold]Examples[/bold]\n\n"
    "  voxelmill recipes\n\n"
    "  voxelmill plan examples/cxr_objects.yaml\n\n"
    "  voxelmill make examples/cxr_objects.yaml -o cxr.zarr --count 2000 --workers 2\n\n"
    "  voxelmill show cxr.zarr -o sheet.png\n\n"
    "  voxelmill check cxr.zarr\n\n"
    "  voxelmill bench cxr.zarr\n\n"
    "  voxelmill verify",
)
MOST_SHOWN = 240
out, err = Console(highlight=False), Console(stderr=True, highlight=False)

SpecPath = Annotated[Path, typer.Argument(help="Spec (YAML).", show_default=False)]
StorePath = Annotated[Path, typer.Argument(help="Store (.zarr folder).", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a key of the spec: ranges.count=3.", metavar="KEY=VALUE"),
]
TrainSet = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a key of the spec: steps=500.", metavar="KEY=VALUE"),
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="A recipe from outside: a Python file.")
]
Count = Annotated[int | None, typer.Option(help="Samples in all, instead of the spec's.")]
Seed = Annotated[int | None, typer.Option(help="Seed, instead of the spec's.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad inputs out; says how many.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command; a mistake of the user's ends with its message and status 1."""
    try:
        app(prog_name="voxelmill")
    except (VoxelmillError, OSError) as error:
        err.print(f"[bold red]{type(error).__name__}[/bold red]: ", end="")
        err.print(str(error), markup=False, soft_wrap=True)
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"voxelmill {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _overrides(count: int | None, seed: int | None, sets: list[str] | None) -> list[str]:
    named = {"count": count, "seed": seed}
    return [f"{k}={v}" for k, v in named.items() if v is not None] + list(sets or [])


def _skipped(plan: Any) -> None:
    from voxelmill.engine.split import empty_parts

    for note in getattr(plan.inputs, "notes", ()):
        err.print(note, style="yellow", markup=False, soft_wrap=True)
    for line in getattr(plan.inputs, "skipped", ()):
        err.print(f"  {line}", markup=False, soft_wrap=True)
    for line in empty_parts(plan.spec.split, plan.inputs):
        err.print(line, style="yellow", markup=False, soft_wrap=True)


@app.command()
def recipes() -> None:
    """The recipes, with what each makes.

    [bold]Example[/bold]: voxelmill recipes
    """
    from voxelmill.engine.recipes import known, load

    table = Table("recipe", "version", "what it makes", box=None, header_style="bold")
    for name in sorted(known()):
        module: Any = load(name)
        table.add_row(name, str(module.VERSION), (module.__doc__ or "").strip().split("\n")[0])
    out.print(table)
    out.print("\n`voxelmill schema RECIPE` lists all that a spec may set.")


@app.command()
def schema(recipe: Annotated[str, typer.Argument(help="Name of a recipe, or its file.")]) -> None:
    """JSON Schema of a recipe's spec, for editors.

    [bold]Example[/bold]: voxelmill schema cxr_objects > cxr_objects.schema.json
    """
    from voxelmill.engine import spec

    print(json.dumps(spec.schema(recipe), indent=2))


@app.command()
def plan(
    spec: SpecPath,
    count: Count = None,
    seed: Seed = None,
    sets: Set = None,
    recipe: RecipeFile = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, for the estimates.")] = 1,
    skip_bad: SkipBad = False,
    time_it: Annotated[
        bool, typer.Option("--time/--no-time", help="Make a few samples to estimate the time.")
    ] = True,
    every: Annotated[bool, typer.Option("--all", help="List every range.")] = False,
    as_json: AsJson = False,
) -> None:
    """What a spec will make: fields, distributions, bytes, shards, files, memory and time.

    [bold]Example[/bold]: voxelmill plan examples/cxr_objects.yaml --count 1000000 --workers 2
    """
    from voxelmill.engine.plan import open_plan
    from voxelmill.engine.plan_page import estimate_seconds, facts, print_plan

    opened = open_plan(spec, _overrides(count, seed, sets), recipe, skip_bad)
    _skipped(opened)
    seconds = None
    if time_it:
        with err.status("timing a few samples (the first time, kernels are compiled)"):
            seconds = estimate_seconds(opened, workers)
    if as_json:
        print(json.dumps(facts(opened, workers, seconds), indent=2))
    else:
        print_plan(opened, workers, seconds, out, every)


@app.command()
def make(
    spec: SpecPath,
    store: Annotated[Path, typer.Option("--output", "-o", help="Store to make or go on with.")],
    count: Count = None,
    seed: Seed = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    sets: Set = None,
    recipe: RecipeFile = None,
    shards: Annotated[
        str | None, typer.Option(help="Only these shards, first:stop, for several machines.")
    ] = None,
    skip_bad: SkipBad = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Do not wait for another mill on these shards.")
    ] = False,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Allow another class of machine than the store's.")
    ] = False,
) -> None:
    """Make the store of a spec, or what is missing of it; a larger count grows it.

    [bold]Examples[/bold]

      voxelmill make examples/cxr_objects.yaml -o cxr.zarr --count 2000

      voxelmill make examples/cxr_objects.yaml -o cxr.zarr --set ranges.count=3 --workers 2
    """
    from voxelmill.engine.plan import open_plan
    from voxelmill.engine.progress import Line
    from voxelmill.engine.run_local import Interrupted, missing_shards
    from voxelmill.engine.run_local import make as run

    opened = open_plan(spec, _overrides(count, seed, sets), recipe, skip_bad)
    _skipped(opened)
    part = _shards(shards, opened.description.shards)
    lacking = missing_shards(opened, store, part)
    if 0 < len(lacking) < workers:
        err.print(
            f"{len(lacking)} of {workers} workers run: a worker makes whole shards, and "
            f"{len(lacking)} {'is' if len(lacking) == 1 else 'are'} to be made (a smaller "
            "samples_per_shard gives a new store more)",
            soft_wrap=True,
        )
    try:
        with Line(err, sum(map(opened.description.samples_in, lacking))) as line:
            made = run(
                opened,
                store,
                workers=workers,
                shards=part,
                take_over=take_over,
                mixed=mixed,
                progress=line.update,
            )
    except Interrupted as stop:
        err.print(str(stop), style="yellow", markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    rate, speed = made.samples / made.seconds, made.nbytes / made.seconds / 1e6
    steady = f"; {figure(made.per_second)} samples/s once started" * (made.per_second > 1.1 * rate)
    out.print(
        f"{store}: {counted(made.count, 'sample')}, {made.samples:,} of them new in "
        f"{made.seconds:.1f} s ({figure(rate)} samples/s, {figure(speed)} MB/s{steady})"
        if made.samples
        else f"{store}: {counted(made.count, 'sample')}, nothing was missing",
        markup=False,
        soft_wrap=True,
    )


def _shards(text: str | None, shards: int) -> range | None:
    if text is None:
        return None
    first, colon, stop = text.partition(":")
    try:
        return range(int(first or 0), int(stop or shards) if colon else int(first) + 1)
    except ValueError:
        raise SpecError(f"--shards {text!r}: write first:stop, as 0:8, or one number") from None


@app.command()
def show(
    store: StorePath,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture (PNG).")] = Path(
        "sheet.png"
    ),
    index: Annotated[str, typer.Option(help="Samples: 0:24, or 3,7,12.")] = "0:24",
) -> None:
    """A contact sheet: images with outlines, or slices with one tinted by classes, and a legend.

    [bold]Example[/bold]: voxelmill show cxr.zarr -o sheet.png --index 0:24
    """
    from voxelmill.engine.preview import sheet

    wanted = _indices(index)
    shown = sheet(store, output, wanted)
    some = f" of the {len(wanted)} asked for; the others are not there" * (shown < len(wanted))
    out.print(f"{output}: {counted(shown, 'sample')}{some}", markup=False, soft_wrap=True)


def _indices(text: str) -> list[int]:
    first, colon, stop = text.partition(":")
    try:
        found = (
            range(int(first or 0), int(stop)) if colon else [int(part) for part in text.split(",")]
        )
    except ValueError:
        raise SpecError(
            f"--index {text!r}: write first:stop, as 0:24, or numbers, as 3,7"
        ) from None
    if len(found) and min((found[0], found[-1]) if colon else found) < 0:
        raise SpecError(f"--index {text!r}: samples are numbered from 0")
    if not 0 < len(found) <= MOST_SHOWN:
        raise SpecError(
            f"--index {text!r}: {len(found):,} samples; a sheet shows 1 to {MOST_SHOWN} of them"
        )
    return list(found)


@app.command()
def check(store: StorePath, as_json: AsJson = False) -> None:
    """Look at every shard: present, whole, hash right. Status 1 and the list if not.

    [bold]Example[/bold]: voxelmill check cxr.zarr
    """
    from voxelmill.engine.check_page import lines, verdict
    from voxelmill.engine.store import check as look
    from voxelmill.engine.store import read_description, state_of

    start = time.monotonic()
    problems, state = look(store), state_of(store)
    wrong = bool(problems) or state != "whole"
    if as_json:
        print(json.dumps([vars(p) for p in problems], indent=2))
    else:
        d = read_description(store)
        for line in lines(problems, state, d):
            out.print(line, markup=False, soft_wrap=True)
        out.print(f"{store}: ", end="", markup=False, soft_wrap=True)
        out.print(verdict(problems, state), end="", style="red" if wrong else "green")
        out.print(
            f", {counted(d.count, 'sample')} in {counted(d.shards, 'shard')} "
            f"({time.monotonic() - start:.1f} s)",
            soft_wrap=True,
        )
    if wrong:
        raise typer.Exit(1)


@app.command()
def remake(
    store: StorePath,
    index: Annotated[int, typer.Argument(help="Which sample.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="NPZ of its arrays.")
    ] = None,
    folder: Annotated[
        str, typer.Option(help="Where relative input paths of the spec begin.")
    ] = ".",
    recipe: RecipeFile = None,
) -> None:
    """Make one sample again, alone, and compare it with the stored one byte for byte.

    [bold]Example[/bold]: voxelmill remake cxr.zarr 1234 -o sample.npz
    """
    import numpy as np

    from voxelmill.engine.remake import remake as again

    remade = again(store, index, folder, recipe)
    if output is not None:
        np.savez_compressed(output, **remade.arrays)
    for line in remade.differences:
        out.print(line, markup=False, soft_wrap=True)
    same = not remade.differences
    out.print(f"sample {index}: {'the same bytes' if same else 'not as stored'}")
    if not same:
        raise typer.Exit(1)


@app.command()
def bench(
    target: Annotated[
        str, typer.Argument(metavar="STORE_OR_SPEC", help="Store (folder or URL), or spec (YAML).")
    ],
    seconds: Annotated[float, typer.Option(help="How long to measure, about.")] = 5.0,
    batch: Annotated[int, typer.Option(min=1, help="Samples a batch.")] = 32,
    step_ms: Annotated[float, typer.Option(help="Step of the trainer that waits or not.")] = 5.0,
    sets: Set = None,
    recipe: RecipeFile = None,
    as_json: AsJson = False,
) -> None:
    """Samples/s of your own store, or of a spec, on this machine.

    [bold]Examples[/bold]

      voxelmill bench cxr.zarr

      voxelmill bench examples/cxr_objects.yaml --json
    """
    from voxelmill.engine import bench as measure
    from voxelmill.engine.bench_page import print_figures

    figures: measure.StoreFigures | measure.SpecFigures
    if target.endswith((".yaml", ".yml")):
        from voxelmill.engine.plan import open_plan

        figures = measure.bench_spec(open_plan(Path(target), sets or [], recipe), batch, seconds)
    else:
        figures = measure.bench_store(target, batch, seconds, step_ms)
    if as_json:
        print(json.dumps(measure.to_json(figures), indent=2))
    else:
        print_figures(figures, out)


@app.command()
def train(
    spec: SpecPath,
    out_folder: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for weights, checkpoint and scores.")
    ],
    sets: TrainSet = None,
    as_json: AsJson = False,
) -> None:
    """Train a segmentation network on stores, and score it; goes on where it was killed.

    [bold]Example[/bold]: voxelmill train examples/train_discs.yaml -o discs_net
    """
    from voxelmill.engine import train as training
    from voxelmill.engine.progress import duration

    asked = training.read_train_spec(spec, sets or [])
    with err.status("compiling the network") as status:

        def told(step: int, loss: float) -> None:
            status.update(f"step {step} of {asked.steps}, loss {loss:.4f}")

        result = training.run(asked, out_folder, spec.parent, told=told)
    if as_json:
        print(json.dumps(result, indent=2))
        return
    out.print(f"{result['steps']} steps, {duration(result['seconds'])}, loss {result['loss']:.4f}")
    if result["rows"]:
        out.print(training.score_table(result["rows"], list(asked.classes)[1:]))


@app.command()
def verify(
    rows: Annotated[
        list[str] | None, typer.Argument(help="Names of rows, or how they begin; all if none.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write JSON here.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write a page here.")] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Compare with torchsim and blochsimulator as well.")
    ] = False,
) -> None:
    """Test the physics on this machine: closed forms, golden numbers, statistics. 1 on FAIL.

    [bold]Examples[/bold]

      voxelmill verify --html verify.html

      voxelmill verify golden bloch.spin_echo
    """
    from voxelmill.engine.verify import page, suite

    wanted = suite.rows(rows or (), peers)
    with err.status("compiling kernels") as status:
        report = suite.verify(wanted, lambda done: status.update(done.row.name), suite.notes(peers))
    page.print_report(report, out)
    if json_file is not None:
        json_file.write_text(json.dumps(page.to_json(report), indent=2) + "\n")
    if html_file is not None:
        html_file.write_text(page.to_html(report))
    if report.failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
