"""Write docs/tissues.md from engine/data/mr/tissues.yaml; a test holds both in step.

Run from the repository root: `python benchmarks/make_tissue_page.py`.
"""

from collections.abc import Iterator
from pathlib import Path

from voxelmill.engine.tissues import MARKS, Relaxation, Tissue, Tissues, Value, open_tissues

PAGE = Path("docs/tissues.md")
HEAD = """# Tissues of MR

Made from `engine/data/mr/tissues.yaml` by `python benchmarks/make_tissue_page.py`: do not edit this
page. Another table is a file of the same form: `inputs: {tissues: my_tissues.yaml}`.

A sample draws one ranking of the sources, and each tissue takes T1 and T2 of the first that
measured it at the drawn field: good papers differ (T1 of muscle at 3 T by 57 %) since they measured
differently, and their mean was measured by nobody. T1 and T2 then scatter normally with the
standard deviation in brackets, up to 2.5 of them; PD, fat share and T2* are even over their range,
T2* at most T2. Fat inside water relaxes as subcutaneous fat does, water inside fat as muscle does,
but their T2 is at least the T2* of the tissue.
Times are in ms, PD is relative to water.
"""


def page(tissues: Tissues) -> str:
    """The whole page."""
    marks = [f"- **{mark}**: {meaning}" for mark, meaning in MARKS.items()]
    unsure = list(_unsure(tissues))
    count = sum(line.count(";") + 1 for line in unsure)
    return "\n".join(
        [
            HEAD,
            "Each value carries a mark:",
            "",
            *marks,
            "",
            "## T1 and T2",
            "",
            "| tissue | T | source | T1 | T2 | mark |",
            "|---|---|---|---|---|---|",
            *(_relaxation(t, r) for t in tissues for r in t.relaxation),
            "",
            "## Protons, fat and T2*",
            "",
            "| tissue | PD | share of fat | its spectrum | T2* at 1.5 T | T2* at 3 T |",
            "|---|---|---|---|---|---|",
            *(_rest(t) for t in tissues),
            "",
            "## Values that nobody read again",
            "",
            f"{count} values have the mark M. Whoever can cite a better one: please replace it.",
            "",
            *unsure,
            "",
            "## Sources",
            "",
            *(f"- **{name}**: {cite}" for name, cite in tissues.sources.items()),
            "",
        ]
    )


def _relaxation(tissue: Tissue, r: Relaxation) -> str:
    t1, t2 = f"{r.t1_ms:g} ({r.t1_sd_ms:.3g})", f"{r.t2_ms:g} ({r.t2_sd_ms:.3g})"
    return f"| {tissue.name} | {r.tesla:g} | {r.source} | {t1} | {t2} | {r.mark} |"


def _range(value: Value) -> str:
    span = f"{value.low:g}" if value.low == value.high else f"{value.low:g} to {value.high:g}"
    return f"{span} ({value.source}, {value.mark})"


def _rest(tissue: Tissue) -> str:
    t2s = [_range(tissue.t2s_ms[t]) if t in tissue.t2s_ms else "none" for t in (1.5, 3.0)]
    fat = tissue.fat_fraction
    shown = (_range(fat), tissue.spectrum) if fat.high else ("0", "")
    return f"| {' | '.join((tissue.name, _range(tissue.pd), *shown, *t2s))} |"


def _unsure(tissues: Tissues) -> Iterator[str]:
    """A line for each tissue that has values of mark M."""
    for t in tissues:
        fat = [("share of fat", t.fat_fraction)] if t.fat_fraction.high else []
        values = [("PD", t.pd), *fat, *((f"T2* at {b:g} T", v) for b, v in t.t2s_ms.items())]
        found = [name for name, v in values if v.mark == "M"]
        found += [f"T1, T2 at {r.tesla:g} T ({r.source})" for r in t.relaxation if r.mark == "M"]
        if found:
            yield f"- {t.name}: {'; '.join(found)}"


if __name__ == "__main__":
    PAGE.write_text(page(open_tissues()), "utf-8")
    print(f"{PAGE}: {PAGE.stat().st_size} bytes")
