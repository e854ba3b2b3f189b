"""Regions of a frontal chest film from its lung mask, or from a stack of masks under CXAS names.

The derived regions follow the lungs' borders where these say something, and textbook proportions of
the thorax elsewhere (`voxelmill.engine.thorax`). docs/anatomy.md shows them over films and says how
well they met two CTs. They say where a device is plausible; they do not segment the patient.
"""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import thorax
from voxelmill.engine.errors import SourceError
from voxelmill.engine.lungs import Mask, bases, coarse, fine, measure, split

REGIONS: tuple[str, ...] = (
    "lungs",
    "lung_right",
    "lung_left",
    "mediastinum",
    "heart",
    "aorta",
    "trachea",
    "ribs",
    "diaphragm",
    "clavicles",
    "body",
)


def derive(lungs: Mask) -> dict[str, Mask]:
    """The REGIONS of a frontal film from its lung mask (y, x): masks of the same shape, none empty.

    Right and left are the patient's: the right lung is on the image's left. Specks are dropped from
    the lungs. The mediastinum holds the heart; the body holds every other region but what the
    trachea and the clavicles have outside it. The same mask gives the same regions on any machine.
    Raises SourceError if the mask is empty, holds fewer than two lungs, or a region finds no room
    in the film.
    """
    mask = np.asarray(lungs, bool)
    right, left = split(mask)
    frame = measure(right, left)
    heart, aorta, trachea = thorax.heart(frame), thorax.aorta(frame), thorax.trachea(frame)
    levels = {
        "mediastinum": thorax.mediastinum(frame, heart, aorta, trachea),
        "heart": heart,
        "aorta": aorta,
        "trachea": trachea,
        "ribs": thorax.ribs(frame, coarse(right | left)),
        "diaphragm": thorax.diaphragm(frame, bases(right, left)),
        "clavicles": thorax.clavicles(frame),
        "body": thorax.body(frame),
    }
    found = {name: fine(level.astype(np.float32), mask.shape) > 0 for name, level in levels.items()}
    found |= {"lungs": right | left, "lung_right": right, "lung_left": left}
    found["mediastinum"] |= found["heart"]
    found["ribs"] |= found["lungs"]
    found["body"] |= found["ribs"] | found["mediastinum"] | found["aorta"] | found["diaphragm"]
    empty = [name for name in REGIONS if not found[name].any()]
    if empty:
        raise SourceError(
            f"the film has no room for {', '.join(empty)} around its lungs: give one that shows "
            "the whole chest, or its regions"
        )
    return {name: found[name] for name in REGIONS}


def from_stack(names: Sequence[str], masks: NDArray[np.generic]) -> dict[str, Mask]:
    """The regions of a user's stack `masks` (region, y, x), not 0 inside; `names` one a region.

    Names are those of REGIONS and of CXAS_NAMES. Each mask is there under its own name, and those
    of REGIONS that CXAS's parts make up (CXAS_PARTS) under ours; "trachea" takes in the
    bifurcation. No region is made up: what neither is given nor has all its parts is absent, and a
    region that is empty in the stack stays empty. Raises SourceError for an unknown or repeated
    name, with the nearest right word, or if names and masks do not fit.
    """
    if masks.ndim != 3 or len(masks) != len(names):
        raise SourceError(
            f"{len(names)} region names need masks of shape ({len(names)}, y, x), not {masks.shape}"
        )
    known = dict.fromkeys((*REGIONS, *CXAS_NAMES))
    wrong = [name for name in names if name not in known]
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if wrong or twice:
        told = [_hint(name, tuple(known)) for name in wrong]
        raise SourceError("; ".join(told + [f"region {name!r} is given twice" for name in twice]))
    given = {name: masks[i] != 0 for i, name in enumerate(names)}
    found = dict(given)
    for region, choices in CXAS_PARTS.items():
        whole = next((parts for parts in choices if all(p in given for p in parts)), None)
        if whole and (region not in given or region in whole):
            found[region] = np.logical_or.reduce([given[part] for part in whole])
    return found


def _hint(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name, known, 1, 0.5)
    cure = f"did you mean {near[0]!r}?" if near else f"use {', '.join(REGIONS)} or a CXAS name"
    return f"unknown region {name!r}; {cure}"


def _ribs(name: str) -> tuple[str, ...]:
    """`name` of the ribs 11 down to 1, "{}" standing for the number."""
    ordinal = {1: "1st", 2: "2nd", 3: "3rd"}
    return tuple(name.format(ordinal.get(k, f"{k}th")) for k in range(11, 0, -1))


_HALF_RIBS = (
    *("posterior 12th rib right", "posterior 12th rib left"),
    *(
        name.replace("#", side).replace("@", end)
        for name in _ribs("@ {} rib #")
        for side in ("right", "left")
        for end in ("anterior", "posterior")
    ),
)
_WHOLE_RIBS = (
    "12th rib",
    *(name.replace("@", end) for name in _ribs("@ {} rib") for end in ("posterior", "anterior")),
)

# The 159 labels of PAX-Ray++ in the order of CXAS's channels (Seibold et al. 2023).
CXAS_NAMES: tuple[str, ...] = (
    *("spine", "cervical spine", "thoracic spine", "lumbar spine"),
    *(
        f"vertebrae {part}{k}"
        for part, n in (("C", 7), ("T", 12), ("L", 5))
        for k in range(1, n + 1)
    ),
    *("rib_cartilage", "sternum", "clavicles", "clavicle left", "clavicle right"),
    *("scapulas", "scapula left", "scapula right", *_HALF_RIBS, *_WHOLE_RIBS),
    *("diaphragm", "left hemidiaphragm", "right hemidiaphragm", "stomach", "small bowel"),
    *("duodenum", "liver", "pancreas", "kidney left", "kidney right", "cardiomediastinum"),
    *("upper mediastinum", "lower mediastinum"),
    *("anterior mediastinum", "middle mediastinum", "posterior mediastinum"),
    *("heart", "heart atrium left", "heart atrium right", "heart myocardium"),
    *("heart ventricle left", "heart ventricle right"),
    *("aorta", "ascending aorta", "descending aorta", "aortic arch"),
    *("pulmonary artery", "inferior vena cava", "esophagus", "lung", "right lung", "left lung"),
    *("lung base", "mid zone lung", "upper zone lung", "apical zone lung"),
    *("right upper zone lung", "right mid zone lung", "right lung base", "right apical zone lung"),
    *("left upper zone lung", "left mid zone lung", "left lung base", "left apical zone lung"),
    *("lung lower lobe left", "lung upper lobe left", "lung lower lobe right"),
    *("lung middle lobe right", "lung upper lobe right", "trachea", "tracheal bifurcation"),
    *("breast", "breast left", "breast right"),
)

_RIGHT_LOBES = ("lung lower lobe right", "lung middle lobe right", "lung upper lobe right")
_LEFT_LOBES = ("lung lower lobe left", "lung upper lobe left")

# Which CXAS labels make up a region: of the choices the first whose labels are all there. CXAS's
# ribs are the bones, ours the zone of the rib cage; a body outline is not among its labels.
CXAS_PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "lungs": (("lung",), ("right lung", "left lung"), _RIGHT_LOBES + _LEFT_LOBES),
    "lung_right": (("right lung",), _RIGHT_LOBES),
    "lung_left": (("left lung",), _LEFT_LOBES),
    "mediastinum": (
        ("cardiomediastinum",),
        ("upper mediastinum", "lower mediastinum"),
        ("anterior mediastinum", "middle mediastinum", "posterior mediastinum"),
    ),
    "heart": (("heart",), tuple(name for name in CXAS_NAMES if name.startswith("heart "))),
    "aorta": (("aorta",), ("ascending aorta", "descending aorta", "aortic arch")),
    "trachea": (("trachea", "tracheal bifurcation"), ("trachea",)),
    "ribs": (_WHOLE_RIBS, _HALF_RIBS),
    "diaphragm": (("diaphragm",), ("left hemidiaphragm", "right hemidiaphragm")),
    "clavicles": (("clavicles",), ("clavicle left", "clavicle right")),
}
