"""How much room the rows of a ragged field get in a batch, checked before anything is read."""

from collections.abc import Mapping, Sequence
from typing import Literal

from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.sample import Field, Ragged

Padded = Mapping[str, int | tuple[int, Literal["drop"]]]


def rooms(
    padded: Padded, fields: Mapping[str, Field | Ragged], names: Sequence[str]
) -> dict[str, int]:
    """Field -> how many rows a sample has room for; `names` are the fields that are read.

    Raises ValueError where a sample could have more rows, unless "drop" stands beside the number.
    """
    ragged = {n: f for n in names if isinstance(f := fields.get(n), Ragged)}
    found: dict[str, int] = {}
    for name, given in padded.items():
        if name not in ragged:
            raise ValueError(
                f"padded={name!r} is no ragged field that is read{did_you_mean(name, ragged)}"
            )
        room, *rest = given if isinstance(given, Sequence) else (given,)
        if rest not in ([], ["drop"]):
            raise ValueError(f'padded={{{name!r}: {given!r}}} is neither rows nor (rows, "drop")')
        if room < 1:
            raise ValueError(f"padded={{{name!r}: {given!r}}} must have room for 1 row or more")
        most = ragged[name].most
        if room < most and not rest:
            raise ValueError(
                f"padded={{{name!r}: {room}}}: a sample may have {most} rows of {name}; give room "
                f'for {most}, or ({room}, "drop") to leave out what is behind row {room}'
            )
        found[name] = room
    return found
