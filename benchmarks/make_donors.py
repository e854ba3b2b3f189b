"""Cut the devices that the V7 masks mark (value 127) out of their films, as cut-and-paste donors.

    python benchmarks/make_donors.py ../shared/data/cxr engine/data/donors

A donor is a grey + alpha PNG: the device's bounding box with a margin, alpha 255 inside the mask
and falling to 0 over a pixel. Scaled to films of 512 px, as the films are when they are pasted on.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

DEVICE, MARGIN_PX, LEAST_PX = 127, 4, 400


def cut(image: np.ndarray, mask: np.ndarray) -> list[Image.Image]:
    """The devices of a film, each as an LA picture."""
    found = []
    labels, _ = ndimage.label(mask == DEVICE)
    for i, box in enumerate(ndimage.find_objects(labels), 1):
        device = ndimage.binary_fill_holes(labels[box] == i)
        if device.sum() < LEAST_PX:
            continue
        device = ndimage.binary_erosion(np.pad(device, MARGIN_PX))
        grey = np.pad(image[box], MARGIN_PX, mode="edge")
        alpha = np.clip(ndimage.gaussian_filter(device.astype(float), 0.7), 0, 1)
        alpha[alpha < 0.02] = 0
        la = np.stack([grey, np.round(alpha * 255).astype(np.uint8)], -1)
        scale = 512 / image.shape[0]
        size = (round(la.shape[1] * scale), round(la.shape[0] * scale))
        found.append(Image.fromarray(la, "LA").resize(size, Image.Resampling.LANCZOS))
    return found


def main() -> None:
    """Write the donors of all films of a folder."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted((source / "masks").glob("*.png")):
        mask = np.asarray(Image.open(path))
        if (mask == DEVICE).any():
            image = np.asarray(Image.open(source / "images" / path.name))
            for i, donor in enumerate(cut(image, mask)):
                name = f"{path.stem}_{i}.png"
                donor.save(target / name, optimize=True)
                print(name, donor.size)


if __name__ == "__main__":
    main()
