"""Trees of arrays in safetensors files, each with what else must be known of it as JSON."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

_FACTS = "voxelmill"


def names_of(tree: Any) -> list[str]:
    """A name for each leaf of a tree, by its place in it."""
    return ["/".join(map(_step, path)) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def _step(key: Any) -> str:
    for kind in ("key", "name", "idx"):
        if hasattr(key, kind):
            return str(getattr(key, kind))
    return str(key)


def save_tree(path: Path, tree: Any, facts: dict[str, Any]) -> None:
    """Write a tree of arrays and JSON `facts` as one file: whole, or as it was before."""
    leaves = [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(tree)]
    names = names_of(tree)
    if len(set(names)) < len(names):
        raise ValueError("two leaves of the tree have one name")
    data = save(dict(zip(names, leaves, strict=True)), metadata={_FACTS: json.dumps(facts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_tree(path: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """(tree shaped as `like`, facts) of a file.

    Raises ValueError, naming what differs, where the arrays are not those of `like`.
    """
    facts = read_facts(path)
    leaves, shape = jax.tree_util.tree_flatten(like)
    with safe_open(path, "numpy") as file:
        there, names = set(file.keys()), names_of(like)
        wanted = dict(zip(names, leaves, strict=True))
        if differing := sorted(there.symmetric_difference(wanted)):
            raise ValueError(f"{path} holds other arrays than this network: {differing[:5]}")
        found = {name: file.get_tensor(name) for name in names}
    for name, leaf in wanted.items():
        if found[name].shape != np.shape(leaf):
            raise ValueError(f"{path}: {name} is {found[name].shape}, not {np.shape(leaf)}")
    return jax.tree_util.tree_unflatten(shape, [jax.numpy.asarray(found[n]) for n in names]), facts


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of a file, without its arrays."""
    with safe_open(path, "numpy") as file:
        facts: dict[str, Any] = json.loads((file.metadata() or {}).get(_FACTS, "{}"))
    return facts
