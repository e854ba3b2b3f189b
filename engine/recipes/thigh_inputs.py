"""Whose thighs: made-up persons, and those of muscle maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from voxelmill.engine.draw import ranged
from voxelmill.engine.errors import SourceError
from voxelmill.engine.label_maps import MapInputs, open_label_maps
from voxelmill.engine.label_table import LabelTable, open_table
from voxelmill.engine.recipes.mr_inputs import read_tissues
from voxelmill.engine.sample import Field, Ragged
from voxelmill.engine.thigh_tissues import ThighMaps
from voxelmill.engine.tissues import Tissues


@dataclass(frozen=True)
class ThighInputs:
    """What the key `inputs:` of `thigh_mr` may hold; paths start at the spec."""

    maps: str = ranged(
        "shipped", "muscle maps: shipped, none, or what `inputs.maps` of labels_mr may name"
    )
    table: str = ranged(
        "hirriririir", "what the values of the maps mean: a shipped table, or a YAML file"
    )
    files: str = ranged("*", "which files of a folder are maps, as a pattern")
    people: int = ranged(
        1000, "numbers of made-up persons: each procedural thigh is one of theirs, so that splits "
        "by subject part them too", low=0, high=100000,
    )  # fmt: skip
    tissues: str = ranged("shipped", "shipped, or a YAML file like engine/data/mr/tissues.yaml")


@dataclass(frozen=True)
class ThighSources:
    """Opened inputs. Input i is a made-up person below `people`, then map i - people."""

    people: int
    maps: ThighMaps | None
    tissues: Tissues
    label_table: LabelTable
    digest: str

    def __len__(self) -> int:
        """How many inputs there are."""
        return self.people + (0 if self.maps is None else len(self.maps))

    @property
    def ids(self) -> tuple[str, ...]:
        """Made-up persons by number, then the maps."""
        made = tuple(f"made{i:05d}" for i in range(self.people))
        return made + (() if self.maps is None else self.maps.maps.ids)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose each input is."""
        made = tuple(f"made{i:05d}" for i in range(self.people))
        return made + (() if self.maps is None else self.maps.maps.subjects)

    @property
    def skipped(self) -> list[str]:
        """A line for each map that is left out as bad."""
        return [] if self.maps is None else self.maps.maps.skipped

    @property
    def notes(self) -> list[str]:
        """What else to tell of the maps."""
        return [] if self.maps is None else self.maps.maps.notes

    @property
    def cache_bytes(self) -> int:
        """The most that is held of maps."""
        return 0 if self.maps is None else self.maps.cache_bytes

    def held_bytes(self, fields: Sequence[Field | Ragged]) -> int:
        """The most that is kept of maps, whatever the samples."""
        return self.cache_bytes

    def table(self) -> dict[str, list[Any]]:
        """What a store records of the maps."""
        return {"id": list(self.ids), "subject": list(self.subjects)}


def open_thigh_inputs(
    inputs: ThighInputs, folder: str | Path = ".", skip_bad: bool = False
) -> ThighSources:
    """The maps and tissues of `inputs`; SourceError tells all that is wrong with them."""
    problems, maps = [], None
    tissues, digest = read_tissues(inputs.tissues, folder)
    if inputs.maps != "none":
        given = MapInputs(maps=inputs.maps, table=inputs.table, files=inputs.files)
        opened = open_label_maps(given, folder, skip_bad)
        maps = ThighMaps(opened)
        digest += opened.digest
    if not inputs.people and maps is None:
        problems.append("inputs: no made-up people and no maps; raise people, or name maps")
    if problems:
        raise SourceError("; ".join(problems))
    whole = sha256(f"{inputs.people} {digest}".encode()).hexdigest()
    return ThighSources(inputs.people, maps, tissues, open_table("thigh"), whole)
