"""The incumbent way to make the same scenes: OpenCV drawing, PNG files and a JSON of boxes.

What a careful engineer writes: anti-aliased OpenCV primitives, each object composed inside its
bounding box, masks thresholded, an image PNG, a modal id PNG, a 16-bit amodal bit PNG and a JSON a
sample. It is given the drawn numbers, so that its time holds no drawing of random numbers.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from voxelmill.engine.recipes.cxr_shapes import CHARACTERS, curve, mesh

SHIFT = 8
FONT = cv2.FONT_HERSHEY_SIMPLEX


def _fixed(points: Any) -> np.ndarray:
    """Pixel coordinates (y, x) as OpenCV's fixed-point (x, y); its pixel centres are integers."""
    yx = np.asarray(points, np.float64) - 0.5
    return np.round(yx[:, ::-1] * (1 << SHIFT)).astype(np.int32)


def _line(canvas: np.ndarray, points: Any, width: float, closed: bool = False) -> None:
    cv2.polylines(canvas, [_fixed(points)], closed, 255, max(1, round(width)), cv2.LINE_AA, SHIFT)


def _text(canvas: np.ndarray, o: Mapping[str, float]) -> None:
    text = "".join(CHARACTERS[int(o[f"character{i}"])] for i in range(int(o["characters"])))
    stroke = int(o["stroke_px"])
    (width, height), _ = cv2.getTextSize(text, FONT, o["scale"], stroke)
    x, y = o["centre_x_px"], o["centre_y_px"]
    place = (round(x - width / 2), round(y + height / 2))
    cv2.putText(canvas, text, place, FONT, o["scale"], 255, stroke, cv2.LINE_AA)
    if o["angle_deg"]:
        turn = cv2.getRotationMatrix2D((x, y), -o["angle_deg"], 1.0)
        canvas[:] = cv2.warpAffine(canvas, turn, canvas.shape[::-1], flags=cv2.INTER_LINEAR)


def _turned(o: Mapping[str, float], points: np.ndarray) -> np.ndarray:
    angle = np.radians(o["angle_deg"])
    c, s = np.cos(angle), np.sin(angle)
    y, x = points[:, 0], points[:, 1]
    centre = (o["centre_y_px"], o["centre_x_px"])
    return np.stack([y * c + x * s, x * c - y * s], 1) + centre


def _draw(name: str, canvas: np.ndarray, o: Mapping[str, float]) -> None:
    """One object's silhouette on a cleared uint8 canvas."""
    if name == "textual":
        _text(canvas, o)
    elif name in ("circular", "ring"):
        t = np.linspace(0, 2 * np.pi, 128, endpoint=False)
        around = np.stack([o["size_a_px"] * np.sin(t), o["size_b_px"] * np.cos(t)], 1)
        points = _turned(o, around)
        if name == "ring":
            _line(canvas, points, o["stroke_px"], True)
        else:
            cv2.fillPoly(canvas, [_fixed(points)], 255, cv2.LINE_AA, SHIFT)
    elif name == "rectangular":
        a, b = o["size_a_px"] / 2, o["size_b_px"] / 2
        corners = _turned(o, np.array([[-a, -b], [-a, b], [a, b], [a, -b]]))
        cv2.fillPoly(canvas, [_fixed(corners)], 255, cv2.LINE_AA, SHIFT)
    elif name == "clip":
        half = o["size_a_px"]
        _line(canvas, _turned(o, np.array([[0, -half], [0, half]])), o["stroke_px"])
    elif name == "line":
        _line(canvas, curve(o), o["stroke_px"])
    else:  # parallel
        _line(canvas, curve(o), 2 * o["size_a_px"] + o["stroke_px"])


def _cutout(o: Mapping[str, float], donors: Any, size: int, rng: Any) -> tuple[Any, Any]:
    """Grey and alpha of a cut-out on the film, by OpenCV's affine and remap."""
    grey, alpha = donors[int(o["donor"])]
    if o["flip"]:
        grey, alpha = grey[:, ::-1], alpha[:, ::-1]
    height, width = alpha.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -o["angle_deg"], o["scale"])
    turn[:, 2] += (o["centre_x_px"] - width / 2, o["centre_y_px"] - height / 2)
    grey = cv2.warpAffine(np.ascontiguousarray(grey), turn, (size, size))
    alpha = cv2.warpAffine(np.ascontiguousarray(alpha), turn, (size, size))
    if o["elastic_px"]:
        field = [
            cv2.GaussianBlur(rng.standard_normal((size, size)).astype(np.float32), (0, 0), sigma)
            for sigma in (o["elastic_sigma_px"],) * 2
        ]
        dy, dx = (f * (o["elastic_px"] / f.std()) for f in field)
        y, x = np.indices((size, size), np.float32)
        grey = cv2.remap(grey, x + dx, y + dy, cv2.INTER_LINEAR)
        alpha = cv2.remap(alpha, x + dx, y + dy, cv2.INTER_LINEAR)
    if o["grow_px"]:
        side = 2 * round(abs(o["grow_px"])) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        alpha = (cv2.dilate if o["grow_px"] > 0 else cv2.erode)(alpha, disc)
    return grey * o["brightness"], alpha


def _shade(canvas: np.ndarray, o: Mapping[str, float]) -> np.ndarray:
    """Alpha of a silhouette by its mode."""
    if o["soft_sigma_px"]:
        canvas = cv2.GaussianBlur(canvas, (0, 0), o["soft_sigma_px"])
    alpha = canvas.astype(np.float32) / 255
    if o["mu"]:
        depth = cv2.distanceTransform((canvas > 127).astype(np.uint8), cv2.DIST_L2, 5)
        alpha *= 1 - np.exp(-o["mu"] * np.sqrt(depth / max(depth.max(), 1e-6)))
    return alpha * o["opacity"]


def scene(
    film: np.ndarray, rows: list[tuple[str, Mapping[str, float]]], extra: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Image, modal ids, amodal bits and the list of objects of one sample."""
    image, size = film.astype(np.float32), film.shape[0]
    modal, amodal = np.zeros(film.shape, np.uint8), np.zeros(film.shape, np.uint16)
    canvas, found = np.zeros(film.shape, np.uint8), []
    for number, (name, o) in enumerate(rows, 1):
        paints = [(canvas, o["grey"])]
        canvas[:] = 0
        if name == "cutout":
            grey, alpha = _cutout(o, extra["donors"], size, extra["rng"])
            canvas[:] = np.where(alpha > 10 / 255, 255, 0)
            layers = [(alpha, grey)]
        elif name == "grid":
            quads, greys = mesh(o, extra["region"], extra["ranges"], extra["stream"], number - 1)
            layers = []
            tone = np.zeros(film.shape, np.float32)
            for quad, grey in zip(quads, greys, strict=True):
                points = [_fixed(quad)]
                cv2.fillPoly(canvas, points, 255, cv2.LINE_AA, SHIFT)
                cv2.fillPoly(tone, [points[0] >> SHIFT], float(grey))
            layers = [(_shade(canvas, o), tone)]
        else:
            _draw(name, canvas, o)
            layers = [(_shade(c, o), grey) for c, grey in paints]
            if name == "parallel":
                lumen = np.zeros_like(canvas)
                _line(lumen, curve(o), 2 * o["size_a_px"] - o["stroke_px"])
                layers.append((_shade(lumen, o), o["fill_grey"]))
        box = cv2.boundingRect(canvas)
        x, y, width, height = box
        reach = slice(max(0, y - 5), y + height + 5), slice(max(0, x - 5), x + width + 5)
        for alpha, grey in layers:
            value = grey[reach] if isinstance(grey, np.ndarray) else grey
            image[reach] += alpha[reach] * (value - image[reach])
        mask = canvas[reach] > 127
        modal[reach][mask] = number
        amodal[reach][mask] |= np.uint16(1 << (number - 1))
        found.append({"id": number, "class": name, "bbox": box, "area": int(mask.sum())})
    visible = np.bincount(modal.ravel(), minlength=len(rows) + 1)
    for one in found:
        one["visible_fraction"] = float(visible[one["id"]] / max(one["area"], 1))
    return np.round(image).clip(0, 255).astype(np.uint8), modal, amodal, found


def write(folder: Path, index: int, made: tuple[Any, ...]) -> None:
    """Three PNG files and a JSON, as such data sets are kept."""
    image, modal, amodal, found = made
    cv2.imwrite(str(folder / f"{index:07d}.png"), image)
    cv2.imwrite(str(folder / f"{index:07d}_modal.png"), modal)
    cv2.imwrite(str(folder / f"{index:07d}_amodal.png"), amodal)
    (folder / f"{index:07d}.json").write_text(json.dumps(found))
