"""Tissues derived from muscle maps: whole bones in all that ship, what is drawn, refusals."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from voxelmill.engine.draw import Fixed, Stream
from voxelmill.engine.errors import SourceError
from voxelmill.engine.label_maps import LabelMap, MapInputs, open_label_maps
from voxelmill.engine.label_table import open_table
from voxelmill.engine.thigh_check import topology, topology_problems
from voxelmill.engine.thigh_depths import thigh_rows
from voxelmill.engine.thigh_params import ThighRanges, draw_thigh
from voxelmill.engine.thigh_tissues import ThighMaps, derive_tissues, thigh_depths
from voxelmill.kernels import thigh as kernel

TABLE = open_table("thigh")


@pytest.fixture(scope="module")
def maps():
    return ThighMaps(open_label_maps(MapInputs("shipped", "hirriririir")))


@pytest.fixture(scope="module")
def smallest(maps):
    """The map with the fewest slices."""
    return maps.depths(maps.maps.ids.index("T1__THIGH_049_0002"))


def made(depths, seed=3, index=0, **fixed):
    stream = Stream(seed, index)
    return derive_tissues(depths, draw_thigh(replace(ThighRanges(), **fixed), stream), stream)


def test_bones_are_whole_in_every_shipped_map_and_sample(maps):
    for i in range(len(maps)):
        depths = maps.depths(i)
        assert depths.sides == ("right", "left")
        for index in range(3):
            rows = made(depths, index=index)
            assert rows.shape == depths.shape
            assert topology_problems(rows, depths.voxel_mm) == [], depths.id
            assert topology(rows, depths.voxel_mm).bones == 2 * len(rows)


def test_muscles_stay_where_the_map_has_them(maps, smallest):
    source = maps.maps.map(maps.maps.ids.index(smallest.id))
    whole = thigh_rows(source.rows, maps.maps.label_table)
    rows = made(smallest, septum_mm=Fixed(0.2), atrophy_mm=Fixed(0.1), infiltration=Fixed(0))
    kept = whole[smallest.first : smallest.first + len(rows)]
    for row in range(kernel.FIRST_MUSCLE, kernel.FIRST_MUSCLE + 11):
        voxel = np.prod(source.voxel_mm), np.prod(smallest.voxel_mm)
        before, after = (kept == row).sum() * voxel[0], (rows == row).sum() * voxel[1]
        assert 0.7 < after / before < 1.1, TABLE.names[row]  # fascia, septa and vessels take some
    lateral = np.argwhere(rows == TABLE.row("vastus lateralis"))[:, 2]
    inner = np.argwhere(rows == TABLE.row("gracilis"))[:, 2]
    assert lateral.min() < inner.min() < inner.max() < lateral.max()


def test_layers_from_outside_in(smallest):
    rows = made(smallest, fat_mm=Fixed(12), fascia_mm=Fixed(1.5))
    for plane in rows:
        column = plane[:, int(smallest.places[0, 0, 0, 1] / smallest.voxel_mm[2])]
        order = column[np.flatnonzero(np.diff(column, prepend=0))]
        assert order[:3].tolist() == [kernel.SKIN, kernel.FAT, kernel.FASCIA]
        touching = plane[:-1][(plane[1:] == kernel.FAT) & (plane[:-1] != kernel.FAT)]
        assert kernel.BACKGROUND not in touching


@pytest.mark.parametrize(
    ("name", "low", "high", "row"),
    [
        ("fat_mm", 5.0, 25.0, kernel.FAT),
        ("atrophy_mm", 0.1, 4.0, kernel.IMF),
        ("infiltration", 0.0, 2.0, kernel.IMF),
        ("cortex_mm", 4.0, 8.0, kernel.CORTEX),
    ],
)
def test_parameters_move_their_tissue(smallest, name, low, high, row):
    sizes = [(made(smallest, **{name: Fixed(v)}) == row).sum() for v in (low, high)]
    assert sizes[1] > 1.15 * sizes[0]


def test_fat_never_leaves_its_margin(smallest):
    rows = made(smallest, fat_mm=Fixed(80), fat_lobe=Fixed(0.6))
    edge = np.concatenate([rows[:, 0], rows[:, -1]], 1)
    assert not edge.any()


def test_a_labelled_femur_is_taken(maps, smallest):
    source = maps.maps.map(maps.maps.ids.index(smallest.id))
    table = open_table("qmritools")
    names = maps.maps.label_table.names
    look_up = np.array([0, *(table.row(f"left {name}") for name in names[1:])], np.uint8)
    rows = look_up[source.rows]
    _, y, x = np.indices(rows.shape)
    bones = np.zeros(rows.shape, bool)
    centres = smallest.places[:, :, 1] / 0.8  # guess of where the holes are, in our grid
    shift = (np.array(smallest.shape[1:]) - 1) / 2
    for k in range(2):
        cy, cx = (centres[:, k] - shift).mean(0) * 0.8
        middle = (np.array(rows.shape[1:]) - 1) / 2
        dy = (y - middle[0]) * source.voxel_mm[1] - cy
        dx = (x - middle[1]) * source.voxel_mm[2] - cx
        bones |= np.hypot(dy, dx) < 14
    rows[bones] = table.row("left femur")
    found = thigh_depths(replace(source, rows=rows), table)
    radius = np.sqrt((found.femur > 0).sum((1, 2)) / 2 / np.pi) * 0.8
    np.testing.assert_allclose(radius, 14, atol=1.2)


def test_a_sample_is_the_same_again_and_depths_pickle(smallest):
    np.testing.assert_array_equal(made(smallest), made(pickle.loads(pickle.dumps(smallest))))
    assert not np.array_equal(made(smallest), made(smallest, index=1))


def test_names_without_their_side():
    table = open_table("qmritools")
    values = [0, 31, 32, 49, 103, 104, 101]
    rows, unknown = table.to_rows(np.array(values).reshape(1, 1, -1))
    assert unknown == {}
    expected = [0, *[TABLE.row("biceps femoris long")] * 2]
    expected += [kernel.MUSCLE, kernel.CORTEX, kernel.CORTEX, 0]
    assert thigh_rows(rows, table).ravel().tolist() == expected


def test_a_map_without_thighs_is_refused():
    rows = np.zeros((6, 40, 60), np.uint8)
    rows[:, 10:30, 10:50] = 3
    box = LabelMap(rows, (5.0, 1.5, 1.5), "box", "box", "LPS")
    with pytest.raises(SourceError, match=r"map box: 0 slices in a row .*muscle map of thighs"):
        thigh_depths(box, open_table("hirriririir"))
