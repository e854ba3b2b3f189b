"""What the MR recipes read: label maps with their table, and tissues."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from voxelmill.engine.draw import ranged
from voxelmill.engine.errors import SourceError
from voxelmill.engine.label_maps import LabelMaps, MapInputs, open_label_maps
from voxelmill.engine.sample import Field, Ragged
from voxelmill.engine.tissues import SHIPPED, Tissues, open_tissues


@dataclass(frozen=True)
class MrInputs(MapInputs):
    """What the key `inputs:` of `labels_mr` may hold; paths start at the spec."""

    tissues: str = ranged("shipped", "shipped, or a YAML file like engine/data/mr/tissues.yaml")


@dataclass(frozen=True)
class MrSources:
    """Opened inputs: what a plan asks of them, and what `render` needs."""

    noun: ClassVar[str] = "map"
    maps: LabelMaps
    tissues: Tissues
    digest: str

    def __len__(self) -> int:
        """How many maps there are."""
        return len(self.maps)

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the maps."""
        return self.maps.ids

    @property
    def subjects(self) -> tuple[str, ...]:
        """Of the maps."""
        return self.maps.subjects

    @property
    def skipped(self) -> list[str]:
        """A line for each map that is left out as bad."""
        return self.maps.skipped

    @property
    def notes(self) -> list[str]:
        """What else to tell of the maps."""
        return self.maps.notes

    def held_bytes(self, fields: Sequence[Field | Ragged]) -> int:
        """The most that is kept of maps, whatever the samples."""
        return self.maps.held_bytes

    def table(self) -> dict[str, list[Any]]:
        """What a store records of the maps."""
        return self.maps.table()


def read_tissues(name: str, folder: str | Path) -> tuple[Tissues, str]:
    """The tissues of a spec and the digest of their file."""
    path = SHIPPED if name == "shipped" else Path(folder) / Path(name).expanduser()
    if not path.is_file():
        raise SourceError(f"tissues: {path} is not a file; write `shipped`, or copy {SHIPPED.name}")
    return open_tissues(path), sha256(path.read_bytes()).hexdigest()


def open_mr_inputs(inputs: MrInputs, folder: str | Path = ".", skip_bad: bool = False) -> MrSources:
    """The maps and tissues of `inputs`; SourceError tells all that is wrong with either."""
    problems, maps, tissues = [], None, None
    try:
        maps = open_label_maps(inputs, folder, skip_bad)
    except SourceError as error:
        problems.append(str(error))
    try:
        tissues, digest = read_tissues(inputs.tissues, folder)
    except SourceError as error:
        problems.append(str(error))
    if maps is None or tissues is None:
        raise SourceError("\n".join(problems))
    whole = sha256(f"{maps.digest} {digest}".encode()).hexdigest()
    return MrSources(maps, tissues, whole)
