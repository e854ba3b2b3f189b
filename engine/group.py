"""The group's zarr.json: the state and the description of a store, and its arrays once it is whole.

The state goes making -> whole, and whole -> growing -> whole. The file is put in place whole, by
a rename; the order of its keys is that of the description, since weights in a spec have an order.
"""

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.faults import AbsentError
from voxelmill.engine.files import write_atomic
from voxelmill.engine.layout import array_metadata
from voxelmill.engine.location import Location
from voxelmill.engine.version import FORMAT, VERSION

State = Literal["making", "growing", "whole"]
Json = dict[str, Any]
KEY = "voxelmill"  # of our attributes
ANEW = "run the same `voxelmill make` again: it writes this file anew and keeps the shards"
MOVE_AWAY = f"move this file away, then {ANEW}"


def read_group(path: str | Path | Location) -> Json:
    """The parsed zarr.json. Raises StoreError if there is none, or it is not ours."""
    place = Location(path)
    try:
        group = json.loads(place.read("zarr.json"))
        if isinstance(group["attributes"][KEY]["format"], int):
            return dict(group)
    except AbsentError:
        if place.is_local and (place.path / "commits").is_dir():
            raise StoreError(f"{place.join('zarr.json')} is missing; {ANEW}") from None
        if place.is_local and place.path.is_file():
            raise StoreError(f"{place} is a file and no store; open_spec opens a spec") from None
        cure = "make one with `voxelmill make`" if place.is_local else "look at the address"
        raise StoreError(f"there is no store at {place}; {cure}") from None
    except ValueError as error:
        raise StoreError(f"{place.join('zarr.json')} is not JSON ({error}); {MOVE_AWAY}") from error
    except (KeyError, TypeError):
        pass
    raise StoreError(f"{place} is a Zarr node that voxelmill did not make; name another path")


def describe(path: str | Path | Location, group: Json) -> Description:
    """The description in what `read_group` gave. Raises StoreError if its format is too new."""
    attributes = group["attributes"][KEY]
    if attributes["format"] > FORMAT:
        raise StoreError(
            f"{path} has format version {attributes['format']}, and this voxelmill {VERSION} knows "
            f"versions up to {FORMAT}; install a newer voxelmill"
        )
    try:
        return Description.from_attributes(attributes)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}/zarr.json is damaged ({error!r}); {MOVE_AWAY}") from error


def read_description(path: str | Path | Location) -> Description:
    """What the store at `path` is.

    Raises StoreError if there is none, or if its format is newer than this program.
    """
    return describe(path, read_group(path))


def state_in(group: Json) -> State:
    """The state in what `read_group` gave."""
    state: State = group["attributes"][KEY]["state"]
    return state


def state_of(path: str | Path | Location) -> State:
    """The state of the store at `path`: making, growing or whole."""
    return state_in(read_group(path))


def write_group(
    store: Path, description: Description, state: State, growing: Json | None = None
) -> None:
    """Put the group's zarr.json in place; a whole store's holds consolidated metadata too."""
    ours: Json = {"state": state} | ({"growing": growing} if growing else {})
    group: Json = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {KEY: description.to_attributes() | ours},
    }
    if state == "whole":
        group["consolidated_metadata"] = consolidated(description)
    write_if_other(store / "zarr.json", to_bytes(group))


def write_arrays(store: Path, description: Description) -> None:
    """Put the zarr.json of every array in place; the folders must be there."""
    for name, metadata in array_metadata(description).items():
        write_if_other(store / name / "zarr.json", to_bytes(metadata))


def write_if_other(path: Path, data: bytes) -> None:
    """`write_atomic`, unless the very bytes are there: what is done again touches nothing."""
    with suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return
    write_atomic(path, data)


def to_bytes(value: Mapping[str, Any]) -> bytes:
    """JSON as the store writes it: the same value, in the same order, is the same bytes."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode()


def consolidated(description: Description) -> Json:
    """zarr-python's consolidated metadata of the arrays, made in memory.

    zarr would write it into the store with neither fsync nor our state in the same rename.
    """
    import zarr
    from zarr.core.buffer import Buffer, cpu
    from zarr.storage import MemoryStore

    nodes: Json = {"": {"zarr_format": 3, "node_type": "group", "attributes": {}}}
    nodes |= {f"{name}/": metadata for name, metadata in array_metadata(description).items()}
    files: dict[str, Buffer] = {
        f"{name}zarr.json": cpu.Buffer.from_bytes(to_bytes(m)) for name, m in nodes.items()
    }
    with warnings.catch_warnings():  # that it is in no specification: others read the arrays' own
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(MemoryStore(files), zarr_format=3)
    group: Json = json.loads(files["zarr.json"].to_bytes())["consolidated_metadata"]
    return group
