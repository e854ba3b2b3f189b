"""A report of `voxelmill verify` on the screen, as JSON and as one HTML page."""

from html import escape
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voxelmill.engine.device_class import device_class, versions
from voxelmill.engine.verify.rows import Outcome
from voxelmill.engine.verify.suite import Report

FORMAT = 1  # of the JSON
WIDE = 110  # columns of a screen from which on a row has its title
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; } h2 { margin: 1.6em 0 .3em; font-size: 1.05em; }
th, td { text-align: left; padding: .25em .6em; border-bottom: 1px solid #ddd; }
td { vertical-align: top; } td.n { font-family: ui-monospace, monospace; white-space: nowrap; }
.pass { color: #176b2c; } .fail { color: #b00020; font-weight: bold; } small { color: #666; }
pre { background: #f6f6f6; padding: .6em; overflow-x: auto; }
"""


def verdict(report: Report) -> str:
    """One line: how many passed, in what time."""
    count, failed = len(report.outcomes), len(report.failed)
    said = f"{count} rows pass" if not failed else f"{failed} of {count} rows FAIL"
    return f"{said} ({report.seconds:.1f} s)"


def number(value: float, digits: int = 6) -> str:
    """As few characters as so many digits take."""
    return f"{value:.{digits}g}"


def print_report(report: Report, out: Console) -> None:
    """A table of all rows, what went wrong in words, and the verdict."""
    wide = out.width >= WIDE
    table = Table(box=None, header_style="bold", pad_edge=False, expand=wide)
    table.add_column("row", no_wrap=True)
    for title, width in (("measured", 11), ("expected", 9), ("tolerance", 9), ("", 4)):
        table.add_column(title, justify="right", no_wrap=True, min_width=width)
    if wide:
        table.add_column("what it looks at", no_wrap=True, overflow="ellipsis", ratio=1)
    for o in report.outcomes:
        r = o.result
        figures = (number(r.measured), number(r.expected), number(r.tolerance, 1))
        mark = Text("PASS", "green") if o.passed else Text("FAIL", "bold red")
        table.add_row(Text(o.row.name), *figures, mark, *[Text(o.row.title)] * wide)
    out.print(table)
    for o in report.failed:
        out.print(f"\n{_failure(o)}", style="red", markup=False, soft_wrap=True)
    for note in report.notes:
        out.print(note, style="yellow", markup=False, soft_wrap=True)
    out.print(f"\n{verdict(report)}", style="red" if report.failed else "green")


def _failure(o: Outcome) -> str:
    if o.error:
        return f"{o.row.name} could not be run:\n{o.error.rstrip()}"
    r = o.result
    return (
        f"{o.row.name}: {number(r.measured)} is {number(abs(r.measured - r.expected))} away from "
        f"{number(r.expected)}, more than {number(r.tolerance, 1)}; it would prove that "
        f"{o.row.proves}"
    )


def to_json(report: Report) -> dict[str, Any]:
    """The report for programs; numbers that are not finite are null."""
    return {
        "format": FORMAT,
        "passed": not report.failed,
        "rows": [_row(o) for o in report.outcomes],
        "failed": [o.row.name for o in report.failed],
        "seconds": round(report.seconds, 3),
        "notes": list(report.notes),
        "versions": versions(),
        "device_class": device_class(),
    }


def _row(o: Outcome) -> dict[str, Any]:
    figures = {k: getattr(o.result, k) for k in ("measured", "expected", "tolerance")}
    return {
        "name": o.row.name,
        "title": o.row.title,
        "proves": o.row.proves,
        **{k: float(v) if abs(v) < float("inf") else None for k, v in figures.items()},
        "passed": o.passed,
        "note": o.result.note,
        "error": o.error,
        "seconds": round(o.seconds, 4),
    }


def to_html(report: Report) -> str:
    """The report as one page that needs nothing else."""
    parts = []
    for family, group in groupby(report.outcomes, lambda o: o.row.name.partition(".")[0]):
        head = "<tr><th>row<th>what it looks at<th>measured<th>expected<th>tolerance<th>s<th></tr>"
        lines = "\n".join(_html_row(o) for o in group)
        parts.append(f"<h2>{escape(family)}</h2>\n<table>{head}\n{lines}\n</table>")
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    machine = ", ".join(f"{k} {v}" for k, v in versions().items())
    state = "fail" if report.failed else "pass"
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>voxelmill verify</title>\n'
        f"<style>{_STYLE}</style>\n<h1>voxelmill verify</h1>\n"
        f'<p class="{state}">{escape(verdict(report))}</p>{notes}\n'
        f"<p><small>{escape(machine)}<br>{escape(device_class())}</small></p>\n"
        + "\n".join(parts)
        + "\n</html>\n"
    )


def _html_row(o: Outcome) -> str:
    r = o.result
    figures = (number(r.measured, 10), number(r.expected, 10), number(r.tolerance, 1))
    cells = "".join(f'<td class="n">{f}' for f in figures)
    about = f"{escape(o.row.title)}<br><small>{escape(o.row.proves)}"
    about += f"; {escape(o.result.note)}</small>" if o.result.note else "</small>"
    about += f"<pre>{escape(o.error)}</pre>" if o.error else ""
    state = "pass" if o.passed else "fail"
    return (
        f'<tr><td class="n">{escape(o.row.name)}<td>{about}{cells}<td class="n">{o.seconds:.2f}'
        f'<td class="{state}">{state.upper()}</tr>'
    )
