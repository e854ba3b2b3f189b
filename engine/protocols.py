"""Pulse sequences as a spec names them: what may vary, one draw of it, and the signals it gives.

A protocol is one of the dataclasses of `SEQUENCES`, each with its ranges; `three_d` says whether it
is acquired as a volume or in slices. `draw_protocol` fixes its
numbers for a sample; `signals` gives what each tissue shows of each pool, at each share of the
nominal flip angle, from `voxelmill.kernels.signals` and `epg`; `suppression` is the share that
spectral pulses leave where B0 is off.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Fixed, Integer, Range, Stream, Uniform, ranged
from voxelmill.engine.sample import Column
from voxelmill.engine.tissues import AT, FAT, POOLS

Row = Mapping[str, float]  # one drawn protocol: column -> number, NaN where it has no meaning
Suppress = Literal["none", "fat", "water"]
Phase = Literal["any", "in", "opposed"]
_SUPPRESSED = ("none", *POOLS)
BAND_PPM, EDGE_PPM = 2.0, 1.0  # of the spectral pulse: a fat band centred on the main peak
MAIN_PPM = 1.3
_BAND_STEPS = 2048  # of B0 in a table of a spectral pulse's profile
MOST_NOISE = 2.0  # of fat and water solved from several echoes, in that of one
FLUID_T2_MS = 200.0  # from here on water hardly decays in a train: it has a pool of its own


def _time(default: Range, meaning: str, low: float = 0.1, high: float = 20000) -> Range:
    return ranged(default, meaning, low=low, high=high, unit="ms")


def _flip(default: Range, meaning: str = "flip angle", high: float = 180) -> Range:
    return ranged(default, meaning, low=1, high=high, unit="deg")


def _suppress(default: Suppress = "none") -> Suppress:
    return ranged(default, "pool that a spectral pulse saturates; it fails where B0 or B1 is off")


@dataclass(frozen=True)
class SpinEcho:
    """One 90-180 echo a TR: proton density and T1 weighting."""

    sequence: ClassVar[str] = "spin_echo"
    three_d: ClassVar[bool] = False
    tr_ms: Range = _time(Uniform(450, 750), "repetition time")
    te_ms: Range = _time(Uniform(9, 20), "echo time")
    flip_deg: Range = _flip(Fixed(90))
    refocus_deg: Range = _flip(Fixed(180), "of the refocusing pulse")
    suppress: Suppress = _suppress()
    suppress_deg: Range = _flip(Uniform(85, 95), "flip angle of the spectral pulse")


@dataclass(frozen=True)
class FastSpinEcho:
    """A train of echoes after each excitation; the echo at k-space's centre gives the contrast."""

    sequence: ClassVar[str] = "fast_spin_echo"
    three_d: ClassVar[bool] = False
    tr_ms: Range = _time(Uniform(2500, 6000), "repetition time")
    te_ms: Range = _time(
        Uniform(60, 120), "effective echo time; becomes a whole number of spacings"
    )
    spacing_ms: Range = _time(Uniform(8, 12), "echo spacing")
    echoes: Range = ranged(Integer(16, 20), "echoes in a train", low=1, high=512)
    refocus_deg: Range = _flip(Uniform(120, 180), "of the refocusing pulses")
    suppress: Suppress = _suppress()
    suppress_deg: Range = _flip(Uniform(85, 95), "flip angle of the spectral pulse")


@dataclass(frozen=True)
class InversionFse:
    """An inversion before a fast spin echo: STIR at a short TI, FLAIR at a long one."""

    sequence: ClassVar[str] = "inversion_fse"
    three_d: ClassVar[bool] = False
    tr_ms: Range = _time(Uniform(3500, 5000), "repetition time")
    ti_ms: Range = _time(Uniform(200, 250), "inversion time")
    te_ms: Range = _time(Uniform(30, 60), "effective echo time; becomes a whole number of spacings")
    spacing_ms: Range = _time(Uniform(8, 12), "echo spacing")
    echoes: Range = ranged(Integer(8, 14), "echoes in a train", low=1, high=512)
    refocus_deg: Range = _flip(Uniform(130, 180), "of the refocusing pulses")
    efficiency: Range = ranged(Uniform(0.92, 1), "of the inversion", low=0.1, high=1)


@dataclass(frozen=True)
class DoubleInversion:
    """Two inversions that null two tissues, before a fast spin echo."""

    sequence: ClassVar[str] = "double_inversion"
    three_d: ClassVar[bool] = False
    tr_ms: Range = _time(Uniform(7000, 8000), "repetition time")
    ti_ms: Range = _time(Uniform(2450, 2650), "from the first to the second inversion")
    ti2_ms: Range = _time(Uniform(420, 480), "from the second inversion to the excitation")
    te_ms: Range = _time(Uniform(20, 40), "effective echo time; becomes a whole number of spacings")
    spacing_ms: Range = _time(Uniform(8, 12), "echo spacing")
    echoes: Range = ranged(Integer(6, 10), "echoes in a train", low=1, high=512)
    refocus_deg: Range = _flip(Uniform(130, 180), "of the refocusing pulses")


@dataclass(frozen=True)
class SpoiledEcho:
    """A spoiled gradient echo; `phase` puts TE where fat and water are in or out of phase."""

    sequence: ClassVar[str] = "spoiled_echo"
    three_d: ClassVar[bool] = False
    tr_ms: Range = _time(Uniform(6, 25), "repetition time")
    te_ms: Range = _time(Uniform(1.5, 5), "echo time")
    flip_deg: Range = _flip(Uniform(5, 40), high=90)
    phase: Phase = ranged("any", "in or opposed: the nearest such TE to the one drawn")


@dataclass(frozen=True)
class BalancedEcho:
    """A balanced steady state, its TE half of TR; dark bands where B0 is off by 1 / (2 TR)."""

    sequence: ClassVar[str] = "balanced_echo"
    three_d: ClassVar[bool] = True
    tr_ms: Range = _time(Uniform(3.5, 6), "repetition time")
    flip_deg: Range = _flip(Uniform(30, 60), high=90)


@dataclass(frozen=True)
class Mprage:
    """An inversion before each train of spoiled gradient echoes: T1 weighting in 3-D."""

    sequence: ClassVar[str] = "mprage"
    three_d: ClassVar[bool] = True
    tr_ms: Range = _time(Uniform(1900, 2500), "from inversion to inversion")
    ti_ms: Range = _time(Uniform(850, 1000), "from the inversion to the centre of k-space")
    te_ms: Range = _time(Uniform(2, 4), "echo time")
    flip_deg: Range = _flip(Uniform(7, 12), high=90)
    spacing_ms: Range = _time(Uniform(6.5, 8), "from pulse to pulse")
    pulses: Range = ranged(Integer(160, 200), "pulses in a train", low=3, high=512)
    efficiency: Range = ranged(Uniform(0.92, 1), "of the inversion", low=0.1, high=1)


Protocol = (
    SpinEcho | FastSpinEcho | InversionFse | DoubleInversion | SpoiledEcho | BalancedEcho | Mprage
)
SEQUENCES: tuple[type[Protocol], ...] = (
    SpinEcho, FastSpinEcho, InversionFse, DoubleInversion, SpoiledEcho, BalancedEcho, Mprage,
)  # fmt: skip
SEQUENCE_WORDS = tuple(kind.sequence for kind in SEQUENCES)

COLUMNS = (
    Column("sequence", "1", "pulse sequence", SEQUENCE_WORDS),
    Column("suppress", "1", "pool that a spectral pulse saturates", _SUPPRESSED),
    Column("tr_ms", "ms", "repetition time"),
    Column("te_ms", "ms", "echo time; effective one of a train"),
    Column("ti_ms", "ms", "inversion time"),
    Column("ti2_ms", "ms", "from the second inversion to the excitation"),
    Column("flip_deg", "deg", "flip angle of the excitation"),
    Column("refocus_deg", "deg", "flip angle of the refocusing pulses"),
    Column("suppress_deg", "deg", "flip angle of the spectral pulse"),
    Column("spacing_ms", "ms", "from echo to echo in a train"),
    Column("echoes", "1", "echoes in a train, or pulses of MPRAGE"),
    Column("centre", "1", "which of them, from 0, is at the centre of k-space"),
    Column("efficiency", "1", "of the inversion"),
)
_DRAWN = ("tr_ms", "te_ms", "ti_ms", "ti2_ms", "flip_deg", "refocus_deg", "suppress_deg",
          "spacing_ms", "echoes", "pulses", "efficiency")  # fmt: skip
NAMES = tuple(f"protocol.{name}" for name in _DRAWN)


def check(protocol: Protocol, key: str, tesla: Sequence[float] = ()) -> Iterator[str]:
    """What bounds of single ranges cannot say: each mistake, with its cure.

    tesla: the field strengths that a spec may draw, on which fat's frequency depends.
    """

    def bounds(name: str) -> tuple[float, float]:
        found = getattr(protocol, name, None)
        return (0.0, 0.0) if found is None else found.bounds()

    tr, te, ti = bounds("tr_ms"), bounds("te_ms"), bounds("ti_ms")
    if te[1] >= tr[0] and not isinstance(protocol, Mprage):
        yield f"{key}: TE up to {te[1]:g} ms is not below TR from {tr[0]:g} ms; lower te_ms"
    elif isinstance(protocol, SpoiledEcho):
        last = te[1] + bounds("spacing_ms")[1] * (getattr(protocol, "echoes", 1) - 1)
        if last >= tr[0]:
            yield (
                f"{key}: TE of the last echo up to {last:g} ms is not below TR from {tr[0]:g} ms; "
                "lower spacing_ms or echoes, or raise tr_ms"
            )
        for field in tesla:
            yield from _check_fat(protocol, key, field)
    if isinstance(protocol, FastSpinEcho | InversionFse | DoubleInversion):
        train = max(bounds("spacing_ms")[1] * bounds("echoes")[1], 2 * te[1])
        inversion = ti[1] + bounds("ti2_ms")[1]
        if inversion + train >= tr[0]:
            yield (
                f"{key}: TI up to {inversion:g} ms and a train up to {train:g} ms do not fit in TR "
                f"from {tr[0]:g} ms; raise tr_ms or shorten them"
            )
        shortest = bounds("spacing_ms")[0] * bounds("echoes")[0]
        if te[1] > shortest:
            yield (
                f"{key}: TE up to {te[1]:g} ms is beyond a train of {shortest:g} ms; raise echoes "
                "or spacing_ms, or lower te_ms"
            )
    if isinstance(protocol, Mprage):
        half = bounds("pulses")[1] * bounds("spacing_ms")[1] / 2 + bounds("spacing_ms")[1]
        if ti[0] < half or tr[0] - ti[1] < half:
            yield (
                f"{key}: half a train lasts up to {half:g} ms and must fit before and after TI "
                f"({ti[0]:g}-{ti[1]:g} ms) in TR from {tr[0]:g} ms; lower pulses or spacing_ms"
            )
        if te[1] >= bounds("spacing_ms")[0]:
            yield f"{key}: TE up to {te[1]:g} ms is not below spacing_ms; lower te_ms"


def _check_fat(protocol: SpoiledEcho, key: str, tesla: float) -> Iterator[str]:
    """What cannot be at one field strength, where fat and water meet at echo times of their own."""
    te, tr = protocol.te_ms.bounds(), protocol.tr_ms.bounds()
    if protocol.phase != "any":
        latest = _meeting_te_ms(te[1], protocol.phase, tesla)
        if latest >= tr[0]:
            yield (
                f"{key}: TE up to {te[1]:g} ms becomes {latest:.2f} ms at {tesla:g} T, where fat "
                f"and water meet as phase {protocol.phase!r} says, which is not below TR from "
                f"{tr[0]:g} ms; raise tr_ms or lower te_ms"
            )
    spacing: Range | None = getattr(protocol, "spacing_ms", None)
    if spacing is not None:
        low, high = spacing.bounds()
        spacings = np.linspace(low, high, 129, dtype=np.float64)
        echoes = int(getattr(protocol, "echoes", 1))
        noise = separation_noise(np.array(te), spacings, echoes, tesla).max(0)
        worst = int(noise.argmax())
        if noise[worst] > MOST_NOISE:
            yield (
                f"{key}.spacing_ms: at {spacings[worst]:.3g} ms between echoes and {tesla:g} T fat "
                f"and water cannot be told apart: their noise is {min(noise[worst], 999):.3g} "
                f"times that of one echo, above {MOST_NOISE:g}; keep away from multiples of "
                f"{_period_ms(tesla):.3g} ms, best near {_period_ms(tesla) / 3:.2g} ms"
            )


def separation_noise(
    te_ms: NDArray[np.float64], spacing_ms: NDArray[np.float64], echoes: int, tesla: float
) -> NDArray[np.float64]:
    """The noise of fat or water, whichever is more, when both are solved from gradient echoes.

    In units of the noise of one echo: (first echo, spacing). Infinite where they look alike.
    """
    from voxelmill.kernels.spectrum import SPECTRA, spectral_phase

    at = te_ms[:, None, None] + spacing_ms[:, None] * np.arange(echoes)
    fat = spectral_phase(SPECTRA["hamilton"], at, tesla)
    power, shared = (abs(fat) ** 2).sum(-1), abs(fat.sum(-1)) ** 2
    apart = np.maximum(echoes * power - shared, 1e-12)
    return np.asarray(np.sqrt(np.maximum(echoes, power) / apart))


def draw_protocol(protocol: Protocol, stream: Stream, slot: int, tesla: float) -> dict[str, float]:
    """The numbers of one protocol, by COLUMNS; `slot` is its own in the sample.

    A train whose effective echo is not among its first has as many echoes after it as before, so
    that its lines rise from one end of k-space to the other without a jump between.
    """
    row = dict.fromkeys((c.name for c in COLUMNS), float("nan"))
    row["sequence"] = SEQUENCE_WORDS.index(protocol.sequence)
    row["suppress"] = _SUPPRESSED.index(getattr(protocol, "suppress", "none"))
    for f in fields(protocol):
        if f.name in _DRAWN:
            given: Range | int = getattr(protocol, f.name)
            row[f.name] = float(
                given
                if isinstance(given, int)
                else given.draws(stream, f"protocol.{f.name}", 1, slot)[0]
            )
    if isinstance(protocol, FastSpinEcho | InversionFse | DoubleInversion):
        row["centre"] = max(0, min(round(row["te_ms"] / row["spacing_ms"]), row["echoes"]) - 1)
        row["te_ms"] = (row["centre"] + 1) * row["spacing_ms"]
        if 3 * row["centre"] >= row["echoes"]:
            row["echoes"] = 2 * row["centre"] + 1
    if isinstance(protocol, Mprage):
        row["echoes"] = row.pop("pulses")
        row["centre"] = row["echoes"] // 2
    if isinstance(protocol, BalancedEcho):
        row["te_ms"] = row["tr_ms"] / 2
    if isinstance(protocol, SpoiledEcho) and protocol.phase != "any":
        row["te_ms"] = _meeting_te_ms(row["te_ms"], protocol.phase, tesla)
    if row["suppress"] == 0:
        row["suppress_deg"] = float("nan")
    return row


def _meeting_te_ms(te_ms: float, phase: Phase, tesla: float) -> float:
    """The TE nearest `te_ms` at which water and the main peak of fat are in or out of phase."""
    period_ms = _period_ms(tesla)
    offset = 0.5 if phase == "opposed" else 1.0
    return float(period_ms * (max(0, round(te_ms / period_ms - offset)) + offset))


def _period_ms(tesla: float) -> float:
    """In which the main peak of fat falls behind water by one turn."""
    from voxelmill.kernels.spectrum import shift_hz

    return 1000 / abs(float(shift_hz(MAIN_PPM, tesla)))


def signals(
    row: Row,
    tissues: NDArray[np.float64],
    spectra: Sequence[str],
    b1: NDArray[np.float64],
    tesla: float,
    off_hz: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.complex64]:
    """What the tissues show: (tissue, b1, pool), signed and complex, before spectral suppression.

    tissues: (tissue, columns of `voxelmill.engine.tissues`); spectra: that of each one's fat.
    b1: shares of the nominal flip angle. off_hz: of the static field at each of them, for balanced
    echoes, whose steady state it changes; of others it turns the phase alone, see `mr_scan`.
    """
    from voxelmill.kernels.spectrum import shift_hz

    made = np.zeros((len(tissues), len(b1), len(POOLS)), np.complex128)
    pd, fat = tissues[:, AT["pd"]], tissues[:, AT["fat_fraction"]]
    shifts_hz = 0.0, float(shift_hz(MAIN_PPM, tesla))  # fat falls into bands of balanced echoes
    for pool, (share, first) in enumerate(((1 - fat, "t1_ms"), (fat, "fat_t1_ms"))):
        t1, t2 = (tissues[:, AT[first] + i, None] for i in range(2))
        made[:, :, pool] = (pd * share)[:, None] * _pool(
            row, t1, t2, tissues[:, AT["t2s_ms"], None], b1[None], shifts_hz[pool] + off_hz
        )
    made[:, :, 1] *= _spectral_phases(row, spectra, tesla)[:, None]
    return made.astype(np.complex64)


def _pool(row: Row, t1: Any, t2: Any, t2s: Any, b1: Any, off_hz: Any) -> Any:
    """Signal of M0 = 1 of one pool: (tissue, b1)."""
    from voxelmill.kernels import signals as s

    sequence = SEQUENCES[int(row["sequence"])]
    tr, te = row["tr_ms"], row["te_ms"]
    if sequence is SpinEcho:
        return s.spin_echo(1, t1, t2, tr, te, row["flip_deg"], row["refocus_deg"], b1)
    if sequence is SpoiledEcho:
        return s.spoiled_echo(1, t1, t2s, tr, te, row["flip_deg"], b1)
    if sequence is BalancedEcho:
        return s.balanced_echo(1, t1, t2, tr, te, row["flip_deg"], b1, off_hz)
    if sequence is Mprage:
        pulses, centre = int(row["echoes"]), int(row["centre"])
        return s.mprage(1, t1, t2s, tr, row["ti_ms"], te, row["flip_deg"], row["spacing_ms"],
                        pulses, centre, efficiency=row["efficiency"], b1=b1)  # fmt: skip
    train_ms = row["spacing_ms"] * row["echoes"]
    if sequence is FastSpinEcho:
        z = s.recovered_z(t1, tr, train_ms)
    elif sequence is InversionFse:
        z = s.inverted_z(t1, tr, row["ti_ms"], train_ms, row["efficiency"])
    else:
        z = s.double_inverted_z(t1, tr, row["ti_ms"], row["ti2_ms"], train_ms)
    return z * echoes(row, t1, t2, b1)[..., int(row["centre"])]


def echoes(row: Row, t1: Any, t2: Any, b1: Any) -> NDArray[np.float64]:
    """The echoes of a train: (tissue, b1, echo), of M0 = 1 fully relaxed."""
    from voxelmill.kernels import epg

    shape = np.broadcast_shapes(t1.shape, t2.shape, b1.shape)
    atoms = [np.broadcast_to(a, shape).ravel().astype(np.float32) for a in (t1, t2, b1)]
    flips = np.full(int(row["echoes"]), row["refocus_deg"])
    made = epg.train(atoms[0], atoms[1], flips, row["spacing_ms"], atoms[2])
    return np.asarray(made.real, np.float64).reshape(*shape, -1)


def _spectral_phases(row: Row, spectra: Sequence[str], tesla: float) -> NDArray[np.complex128]:
    """Of each tissue's fat: its peaks drift apart in a gradient echo, and meet in a spin echo."""
    from voxelmill.kernels.spectrum import SPECTRA, spectral_phase

    if SEQUENCES[int(row["sequence"])] not in (SpoiledEcho, Mprage):
        return np.ones(len(spectra), np.complex128)
    te = np.asarray(row["te_ms"])
    known = {name: complex(spectral_phase(SPECTRA[name], te, tesla)) for name in set(spectra)}
    return np.array([known[name] for name in spectra])


def suppression(row: Row, pool: str, off_hz: Any, b1: Any, tesla: float) -> Any:
    """The share of a pool that the spectral pulse of `row` leaves; 1 where there is none.

    off_hz, b1: maps of the B0 offset and of the share of the nominal flip angle, float32. Exact for
    excitations of 90 degrees, in which what was prepared is a factor.
    """
    from voxelmill.kernels.spectrum import SPECTRA, band, saturated_z, shift_hz

    target = _SUPPRESSED[int(row["suppress"])]
    if target == "none":
        return np.ones((), np.float32)
    centre = float(shift_hz(MAIN_PPM, tesla)) if target == FAT else 0.0
    per_ppm = float(shift_hz(5.7, tesla))
    width, edge = BAND_PPM * per_ppm, EDGE_PPM * per_ppm
    peaks = SPECTRA["hamilton"] if pool == FAT else None
    lines = [(4.7, 1.0)] if peaks is None else list(zip(peaks.ppm, peaks.share, strict=True))
    whole = sum(share for _, share in lines)

    def reached(hz: Any) -> Any:
        """The share of the pool that the pulse turns where B0 is off by this."""
        found = sum(share * band(hz + float(shift_hz(ppm, tesla)), centre, width, edge)
                    for ppm, share in lines)  # fmt: skip
        return found / whole

    if np.size(off_hz) <= _BAND_STEPS:
        profile = reached(off_hz)
    else:  # a map: the profile is smooth, its steps are far below EDGE_PPM
        low = float(off_hz.min())
        step = max(float(off_hz.max()) - low, 1e-3) / (_BAND_STEPS - 2)
        table = np.asarray(reached(low + step * np.arange(_BAND_STEPS)), np.float32)
        place = (off_hz - np.float32(low)) * np.float32(1 / step)
        node = place.astype(np.int32)
        profile = table[node] + (place - node) * np.diff(table)[node]
    return saturated_z(row["suppress_deg"], profile, b1).astype(np.float32)


def t2_weights(
    row: Row, tissues: NDArray[np.float64], like: Sequence[int]
) -> NDArray[np.float64] | None:
    """Echoes of a train relative to that at k-space's centre, (pool, echo); None without a train.

    like: the row of the tissue after which each pool's train is modelled: water, fat, and fluid
    where that is a pool of its own.
    """
    if SEQUENCES[int(row["sequence"])] not in (FastSpinEcho, InversionFse, DoubleInversion):
        return None
    rows = tissues[list(like)]
    pairs = [(rows[p, AT[first]], rows[p, AT[first] + 1])
             for p, first in enumerate(("t1_ms", "fat_t1_ms", "t1_ms")[: len(rows)])]  # fmt: skip
    t1, t2 = np.array(pairs).T
    made = echoes(row, t1, t2, np.ones(len(pairs)))
    return np.asarray(made / made[:, [int(row["centre"])]])
