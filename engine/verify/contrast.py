"""Rows: what voxels are painted with, and which tissue is brighter than which in a protocol."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import protocols, tissues
from voxelmill.engine.draw import Fixed, Stream, Uniform
from voxelmill.engine.protocols import (
    BalancedEcho,
    DoubleInversion,
    FastSpinEcho,
    InversionFse,
    Mprage,
    Protocol,
    SpinEcho,
)
from voxelmill.engine.verify import brute
from voxelmill.engine.verify.closed_forms import FORMS, drawn
from voxelmill.engine.verify.rows import Measured, Row

DRAWS, TESLA = 64, 3.0
ODD = 3  # draws that may differ: tissues scatter, and some protocols null where another tissue is
FAT, MUSCLE, BONE = "subcutaneous fat", "skeletal muscle", "cortical bone"
WHITE, GREY, FLUID = "white matter", "grey matter", "csf"
FLAIR = InversionFse(
    tr_ms=Uniform(8500, 9500), ti_ms=Uniform(2400, 2500), te_ms=Uniform(90, 130),
    echoes=Fixed(16),
)  # fmt: skip
ORDERS: Sequence[tuple[str, str, Protocol, tuple[str, ...]]] = (
    ("t1", "T1-weighted spin echo", SpinEcho(), (FAT, MUSCLE, BONE)),
    ("t2", "T2-weighted fast spin echo", FastSpinEcho(), (FAT, MUSCLE, BONE)),
    ("t2_brain", "T2-weighted fast spin echo", FastSpinEcho(), (FLUID, GREY, WHITE)),
    ("stir", "short inversion time", InversionFse(), (MUSCLE, FAT)),
    ("flair", "long inversion time", FLAIR, (GREY, FLUID)),
    ("double_inversion", "two inversions", DoubleInversion(), (GREY, WHITE)),
    ("double_inversion_fluid", "two inversions", DoubleInversion(), (GREY, FLUID)),
    ("mprage", "MPRAGE", Mprage(), (WHITE, GREY, FLUID)),
)


def magnitudes(protocol: Protocol, names: Sequence[str], index: int) -> NDArray[np.float64]:
    """Of the tissues `names` in one draw of everything, B1 as nominal."""
    stream, known = Stream(5, index), tissues.open_tissues()
    table = known.draw(stream, TESLA)
    row = protocols.draw_protocol(protocol, stream, 0, TESLA)
    all_names = list(known.by_name)
    chosen = [all_names.index(name) for name in names]
    spectra = [known.by_name[name].spectrum for name in names]
    made = protocols.signals(row, table[chosen], spectra, np.ones(1), TESLA)
    return np.abs(made.sum(-1))[:, 0]


def _order(protocol: Protocol, names: tuple[str, ...]) -> Measured:
    wrong = sum(
        bool((np.diff(magnitudes(protocol, names, index)) >= 0).any()) for index in range(DRAWS)
    )
    return Measured(wrong, 0, ODD, f"draws of {DRAWS} in another order: {' > '.join(names)}")


def _painted(name: str) -> Measured:
    """Voxels of 24 tissues at 5 B1, through the table in single precision."""
    from voxelmill.kernels import contrast, signals

    cases, b1 = drawn(name, FORMS[name][1]), np.linspace(0.6, 1.2, 5)
    played = [
        [complex(getattr(brute, name)(**{**case, "b1": scale})) for scale in b1] for case in cases
    ]
    table = np.array(played, np.complex64)[..., None, None]  # (row, bin, contrast, pool)
    labels, scales = np.meshgrid(np.arange(len(cases), dtype=np.uint8), b1.astype(np.float32))
    made = contrast.paint(
        np.ascontiguousarray(labels[None, None]),
        table.view(np.float32).reshape(1, *table.shape, 2),
        (1, *labels.shape),
        b1=np.ascontiguousarray(scales[None, None]),
        b1_bins=(float(b1[0]), float(b1[1] - b1[0])),
    )
    closed = np.array(
        [
            [complex(getattr(signals, name)(1.0, **{**case, "b1": scale})) for case in cases]
            for scale in b1
        ]
    )
    return Measured(float(np.abs(made[0, 0, 0, 0] - closed).max()), 0, 1e-5, "single precision")


def _bands() -> Measured:
    """Balanced echoes of water and fat where B0 and B1 vary, by their tables, beside Bloch's."""
    from voxelmill.engine.recipes.mr_body import Grid
    from voxelmill.engine.recipes.mr_physics import physics_pools
    from voxelmill.engine.recipes.mr_scan import Scene
    from voxelmill.kernels.spectrum import shift_hz

    shape, stream, known = (2, 3, 20), Stream(6, 0), tissues.open_tissues()
    chosen = [list(known.by_name).index(name) for name in (FAT, MUSCLE, FLUID)]
    table = known.draw(stream, TESLA)[chosen]
    row = {
        **protocols.draw_protocol(BalancedEcho(), stream, 0, TESLA),
        "tr_ms": 5.0, "te_ms": 2.5, "flip_deg": 45.0,
    }  # fmt: skip
    drawn_b0, drawn_b1 = (stream.uniform(f"verify.bands.{name}", 120) for name in ("b0", "b1"))
    b0 = ((drawn_b0 - 0.5) * 700).astype(np.float32).reshape(1, *shape)
    b1 = (0.8 + 0.4 * drawn_b1).astype(np.float32).reshape(1, *shape)
    fine = (np.arange(120) % 3).astype(np.uint8).reshape(1, *shape)
    scene = Scene(Grid(shape, (1.0,) * 3, (1, 1, 1)), fine, None, TESLA, b1, b0, b1)
    made = physics_pools(scene, row, table, np.arange(3), ["hamilton"] * 3)[0]
    worst, at = 0.0, tissues.AT
    for here in np.ndindex(shape):
        values = table[fine[0][here]]
        fat = values[at["fat_fraction"]]
        for p, (share, t1) in enumerate(((1 - fat, at["t1_ms"]), (fat, at["fat_t1_ms"]))):
            off_hz = float(b0[0][here]) + p * float(shift_hz(protocols.MAIN_PPM, TESLA))
            wanted = brute.balanced_echo(
                t1_ms=values[t1], t2_ms=values[t1 + 1], tr_ms=5.0, te_ms=2.5, flip_deg=45.0,
                b1=float(b1[0][here]), off_hz=off_hz,
            )  # fmt: skip
            worst = max(worst, float(abs(values[at["pd"]] * share * wanted - made[p][here])))
    return Measured(worst, 0, 5e-4, "of M0, 120 voxels within 350 Hz")


def verify_rows() -> list[Row]:
    """What the kernel paints, then a row an order."""
    painted = [
        Row(
            f"contrast.painted_{name}",
            f"voxels painted from a table: {FORMS[name][0]}",
            "the kernel holds what the Bloch equation and the closed form say",
            partial(_painted, name),
        )
        for name in ("spin_echo", "spoiled_echo", "balanced_echo")
    ]
    bands = Row(
        "contrast.balanced_bands", "balanced echoes in a field that is off by up to 350 Hz",
        "the tables over B0 and B1 hold pass and stop bands as the Bloch equation says", _bands,
    )  # fmt: skip
    return [*painted, bands] + [
        Row(
            f"contrast.{name}",
            f"{title} at 3 T: {' > '.join(names)}",
            "the brighter tissue is the one that radiologists see brighter",
            partial(_order, protocol, names),
        )
        for name, title, protocol, names in ORDERS
    ]
