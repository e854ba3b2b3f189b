"""Samples of stores as batches for a network: mapped to its classes, masked, scaled, mixed.

Several stores may hold other label tables and other fields: each is read by itself, and its label
values are mapped by their names to the classes that are trained for. Where images have several
contrasts, these are the network's channels, or one of them is drawn for each sample.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Stream
from voxelmill.engine.errors import SpecError
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.permutation import derived_seed
from voxelmill.engine.reader import Reader
from voxelmill.engine.sample import Field, Ragged

Array = NDArray[Any]
_LEFT = re.compile(r"\bleft\b")


@dataclass(frozen=True)
class Change:
    """How a training sample is varied: flips along axes at even chance, and |image| ** exponent.

    one_contrast: of several contrasts one is drawn.
    """

    flip: tuple[str, ...] = ()
    gamma_log_sd: float = 0.0
    one_contrast: bool = False


@dataclass(frozen=True)
class Source:
    """A store as a network sees it.

    axes: of space, without those of one voxel. class_of: value of the label field -> class. near:
    (values,) bool, those around which the image is kept, with `margin` voxels; elsewhere it is 0.
    None keeps all of it. contrasts: how many the image has; contrast_names: these, or () where the
    store does not say. single: axes of space that have one voxel, as numbers.
    """

    reader: Reader
    image: str
    label: str
    axes: tuple[str, ...]
    class_of: Array
    near: Array | None = None
    margin: int = 0
    contrasts: int = 1
    single: tuple[int, ...] = ()
    contrast_names: tuple[str, ...] = ()

    def prepared(
        self, batch: Mapping[str, Any], which: Sequence[int] | None = None
    ) -> dict[str, Array]:
        """image (sample, *space, contrast) float32, label (sample, *space) uint8.

        The mean of |image| over what is kept is 1 in each contrast. which: the one contrast that is
        taken of each sample; None takes all.
        """
        drop = tuple(a + 1 for a in self.single)
        values = np.asarray(batch[self.label]).squeeze(drop)
        image = np.asarray(batch[self.image])
        if image.ndim == 1 + len(self.axes) + len(drop):
            image = image[:, None]
        if which is not None:
            image = image[np.arange(len(image)), np.asarray(which)][:, None]
        image = image.squeeze(tuple(a + 1 for a in drop)).astype(np.float32)
        axes = tuple(range(2, image.ndim))
        if self.near is None:
            count = np.full((len(image), 1), np.prod(image.shape[2:]))
        else:
            inside = np.stack([grown(one, self.margin) for one in self.near[values]])[:, None]
            image, count = image * inside, inside.sum(axes)
        mean = np.abs(image).sum(axes) / np.maximum(count, 1)
        image = image / np.maximum(mean, 1e-6).reshape(*mean.shape, *(1,) * len(axes))
        return {"image": np.moveaxis(image, 1, -1), "label": self.class_of[values]}


def grown(mask: Array, voxels: int) -> Array:
    """A mask and all voxels that are within `voxels` steps along axes from it."""
    from scipy.ndimage import binary_dilation

    return binary_dilation(mask, iterations=voxels) if voxels else mask


def source(
    reader: Reader,
    classes: Mapping[str, Sequence[str]],
    *,
    image: str = "image",
    label: str = "label",
    near: Sequence[str] = (),
    margin: int = 0,
) -> Source:
    """A store with its label values mapped by name. classes: ours -> names of theirs.

    Raises SpecError for fields that the store lacks or whose axes do not fit, for a name of its
    label table that no class has, for one that two have, and where `near` names none of it. Names
    that the store does not know are no mistake: one mapping serves several tables.
    """
    dense = {k: f for k, f in reader.fields.items() if isinstance(f, Field)}
    problems = [f"no dense field {name!r}{did_you_mean(name, dense)}" for name in (image, label)
                if name not in dense]  # fmt: skip
    labels = reader.labels.get(label, {})
    if not labels and not problems:
        problems.append(f"field {label!r} has no label table")
    if not problems and dense[label].axes not in (dense[image].axes, dense[image].axes[1:]):
        problems.append(
            f"axes {dense[image].axes} of {image!r} are neither those of {label!r}, "
            f"{dense[label].axes}, nor one for the contrasts and then those"
        )
    owners = {name: ours for ours, theirs in classes.items() for name in theirs}
    problems += [f"{name!r} belongs to {ours!r} and to {owners[name]!r}"
                 for ours, theirs in classes.items() for name in theirs
                 if owners[name] != ours]  # fmt: skip
    if lonely := [name for name in labels.values() if name not in owners]:
        problems += [f"label {name!r} belongs to no class" for name in lonely]
        problems += [f"{name!r} of class {ours!r} is no label of it"
                     for name, ours in owners.items() if name not in labels.values()]  # fmt: skip
    problems += [f"near: {name!r} belongs to no class{did_you_mean(name, owners)}"
                 for name in near if name not in owners]  # fmt: skip
    if near and labels and not set(near) & set(labels.values()):
        problems.append(f"near: none of {list(near)} is a label here, so nothing would be kept")
    if problems:
        raise SpecError(f"{reader.location}: " + "; ".join(problems))
    number = {name: i for i, name in enumerate(classes)}
    class_of = np.zeros(max(labels) + 1, np.uint8)
    inside = np.zeros(max(labels) + 1, bool)
    for value, name in labels.items():
        class_of[value], inside[value] = number[owners[name]], name in near
    space = list(zip(dense[label].axes, dense[label].shape, strict=True))
    axes = tuple(name for name, size in space if size > 1)
    single = tuple(a for a, (_, size) in enumerate(space) if size == 1)
    apart = len(dense[image].axes) > len(space)
    contrasts = dense[image].shape[0] if apart else 1
    kept = inside if near else None
    names = _contrast_names(reader, contrasts) if apart else ()
    return Source(reader, image, label, axes, class_of, kept, margin, contrasts, single, names)


def _contrast_names(reader: Reader, count: int) -> tuple[str, ...]:
    """What the table `contrasts` of the first sample, as of all, calls them; () without one."""
    table = reader.fields.get("contrasts")
    if not isinstance(table, Ragged) or not len(reader):
        return ()
    rows = reader.start([0], ["contrasts"]).result()["contrasts"].values
    names = table.named("contrast", rows)
    return names if len(names) == count else ()


class TrainingBatches(Iterator[dict[str, Array]]):
    """Batches without end of one or several stores, prepared and varied; each of one store.

    weights: how often each store has its turn. What is drawn for a sample is a function of (seed,
    epoch of its store, its number) alone. `state_dict` says where it stands, `load_state_dict`
    goes on there.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        weights: Sequence[float] | None = None,
        *,
        size: int = 1,
        seed: int = 0,
        crop: Mapping[str, int] | None = None,
        split: str | None = None,
        change: Change | None = None,
    ) -> None:
        self.sources, self.seed, self.change = list(sources), seed, change or Change()
        given = [1.0] * len(self.sources) if weights is None else [float(w) for w in weights]
        if len(given) != len(self.sources) or min(given) <= 0:
            raise SpecError(f"weights {given}: one above 0 for each of {len(sources)} stores")
        for one in self.sources:
            _check_flips(one, self.change.flip)
        self._shares = np.array(given) / sum(given)
        self._taken = [0] * len(self.sources)
        self._batches = [
            s.reader.batches(
                size, seed=derived_seed(seed, k), fields=[s.image, s.label], epochs=None,
                crop=crop, split=split,
            )
            for k, s in enumerate(self.sources)
        ]  # fmt: skip

    def __next__(self) -> dict[str, Array]:
        """The next batch: "image", "label", "index" and "store"."""
        late = self._shares * (sum(self._taken) + 1) - self._taken
        k = int(np.argmax(late))
        epoch = self._batches[k].at[0]
        batch = next(self._batches[k])
        self._taken[k] += 1
        on = self.sources[k]
        seed = derived_seed(derived_seed(self.seed, 1000 + k), epoch)
        streams = [Stream(seed, int(i)) for i in batch["index"]]
        which = None
        if self.change.one_contrast and on.contrasts > 1:
            which = [int(s.integers("contrast", 0, on.contrasts - 1)[0]) for s in streams]
        made = varied(on.prepared(batch, which), on.axes, self.change, streams)
        return made | {"index": batch["index"], "store": np.full(len(streams), k)}

    def state_dict(self) -> dict[str, Any]:
        """Where each store stands, and how often it has had its turn."""
        return {"taken": list(self._taken), "stores": [b.state_dict() for b in self._batches]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        if len(state["stores"]) != len(self._batches):
            raise SpecError(
                f"the state is of {len(state['stores'])} stores, not {len(self._batches)}"
            )
        self._taken = list(state["taken"])
        for batches, one in zip(self._batches, state["stores"], strict=True):
            batches.load_state_dict(one)

    def close(self) -> None:
        """Wait for what is under way."""
        for batches in self._batches:
            batches.close()


def _check_flips(on: Source, flips: Sequence[str]) -> None:
    """Raise SpecError for flips along no axis, or that would make a left class of a right one."""
    field = on.reader.fields[on.label]
    axes = field.axes if isinstance(field, Field) else ()
    for name in flips:
        if name not in axes:
            raise SpecError(f"flip: {on.reader.location} has no axis {name!r}"
                            f"{did_you_mean(name, axes)}")  # fmt: skip
    if "x" not in flips:
        return
    labels = on.reader.labels[on.label]
    class_of = {name: int(on.class_of[value]) for value, name in labels.items()}
    for name, number in class_of.items():
        other = _LEFT.sub("right", name)
        if class_of.get(other, number) != number:
            raise SpecError(
                f"flip: {name!r} and {other!r} are two classes, and a flip along x would show one "
                "under the other's name; join them, or leave x out"
            )


def varied(
    batch: Mapping[str, Array], axes: Sequence[str], change: Change, streams: Sequence[Stream]
) -> dict[str, Array]:
    """A prepared batch with each sample flipped and its contrast bent, by its own stream."""
    image, label = batch["image"].copy(), batch["label"].copy()
    for n, stream in enumerate(streams):
        turned = stream.uniform("flip", len(axes)) < 0.5
        flips = tuple(a for a, name in enumerate(axes) if turned[a] and name in change.flip)
        image[n], label[n] = np.flip(image[n], flips), np.flip(label[n], flips)
        if change.gamma_log_sd:
            exponent = np.float32(np.exp(change.gamma_log_sd * stream.normal("gamma")[0]))
            image[n] = np.sign(image[n]) * np.abs(image[n]) ** exponent
    return {"image": image, "label": label}
