"""From the scene of a micro-batch of `cxr_objects` to its arrays: shade, paste, label."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.recipes.cxr_scene import Patches, Scene
from voxelmill.engine.recipes.cxr_shapes import Floats

CUTOUT_ALPHA = 10 / 255  # a cut-out is where its alpha is above this; as published


class Painted(NamedTuple):
    """The arrays of a batch; `measures` and `silhouettes` have a row an object."""

    image: NDArray[np.uint8]
    modal: NDArray[np.uint8]
    amodal: NDArray[np.uint16]
    semantic: NDArray[np.uint8]
    measures: Any
    silhouettes: Patches


def paint(
    scene: Scene, films: NDArray[np.uint8], choice: NDArray[np.int32], donors: Any
) -> Painted:
    """Render the scene on `films` (film, y, x); sample b stands on film `choice[b]`."""
    polygons = scene.polygons()
    alpha, silhouettes, texture = polygons, polygons, np.empty(0, np.float32)
    if scene.cutouts:
        cut, texture = scene.warped(donors)
        cut.flat[cut.flat <= CUTOUT_ALPHA] = 0  # the film stays as it is outside the mask
        alpha = polygons.then(_feathered(cut, scene))
        opaque = (cut.flat > 0).astype(np.float32)
        silhouettes = polygons.then(Patches(cut.windows, cut.starts, opaque))
    image = _composed(scene, films, choice, alpha, texture)
    return _labelled(scene, image, silhouettes)


def _feathered(cut: Patches, scene: Scene) -> Patches:
    from voxelmill.kernels import cutout

    width_px = scene.cutout_column("feather_px")
    flat = cutout.feather(cut.flat, cut.windows, cut.starts, width_px)
    return Patches(cut.windows, cut.starts, flat)


def _composed(
    scene: Scene, films: NDArray[Any], choice: NDArray[np.int32], alpha: Patches, texture: Floats
) -> NDArray[np.uint8]:
    """All layers pasted, in their order. `texture` is the grey of the cut-outs' patches."""
    from voxelmill.kernels import paste

    table = scene.layer_table()
    shapes = scene.numbers(table[:, 0])
    grey, opacity, sigma_px, mu = np.ascontiguousarray(table[:, 2:].T.astype(np.float32))
    layers = alpha.take(shapes)
    flat = _shaded(layers, sigma_px, mu)
    first = len(scene.margins)  # of the cut-outs
    textured = shapes >= first
    lengths = np.where(textured, np.diff(layers.starts), 0)
    greys = Patches(alpha.windows[first:], alpha.starts[first:] - alpha.starts[first], texture)
    return np.asarray(
        paste.compose(
            films,
            choice,
            flat,
            layers.windows,
            layers.starts,
            table[:, 1].astype(np.int32),
            opacity,
            grey,
            greys.take(shapes[textured] - first).flat,
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            len(choice),
        )
    )


def _shaded(layers: Patches, sigma_px: Floats, mu: Floats) -> Floats:
    """Alpha of each layer by its mode: as it is, softened, or by the thickness it stands for."""
    from voxelmill.kernels import distance, paste, patches

    flat = layers.flat
    if sigma_px.any():
        flat = paste.soften(flat, layers.windows, layers.starts, sigma_px)
    thick = np.flatnonzero(mu)
    if len(thick):
        part = layers.take(thick)
        depth = distance.thickness(part.flat, part.windows, part.starts)
        attenuated = paste.attenuate(part.flat, depth, part.starts, mu[thick])
        patches.put(flat, layers.starts, thick, attenuated)
    return flat


def _labelled(scene: Scene, image: NDArray[np.uint8], silhouettes: Patches) -> Painted:
    from voxelmill.kernels import label

    owners = np.array([owner for _, owner in scene.objects], np.int64).reshape(-1, 3)
    masks = silhouettes.take(scene.numbers([shape for shape, _ in scene.objects]))
    samples, ids, kinds = owners[:, 0].astype(np.int32), *owners[:, 1:].T.astype(np.uint8)
    where = masks.flat, masks.windows, masks.starts
    maps = label.maps(*where, samples, ids, kinds, len(image), image.shape[1:])
    measures = label.measure(*where, samples, ids, maps.modal)
    return Painted(image, maps.modal, maps.amodal, maps.semantic, measures, masks)
