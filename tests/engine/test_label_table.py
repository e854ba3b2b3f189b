"""Label tables: what ships is sound, rows and values, flips, every mistake told."""

import numpy as np
import pytest
import yaml

from voxelmill.engine.errors import SourceError
from voxelmill.engine.label_table import LabelTable, open_table, shipped_tables, table_of
from voxelmill.engine.tissues import open_tissues
from voxelmill.kernels import thigh as kernel

ROWS = [
    {"value": 0, "name": "background", "tissue": "air"},
    {"value": 7, "name": "left leaf", "tissue": "skin", "class": "leaf", "partner": 900},
    {"value": [900, 901], "name": "right leaf", "tissue": "skin", "class": "leaf", "partner": 7},
    {"value": -3, "name": "stem", "tissue": "fascia"},
]
CATCH = {"name": "crumbs", "tissue": "skin", "class": "leaf", "values": [40, 41]}


def table(rows=ROWS, **keys) -> LabelTable:
    return table_of({"rows": rows, **keys}, "plant.yaml")


def test_rows_values_classes_and_partners():
    plant = table(catch_all=CATCH)
    assert plant.name == "plant"
    assert plant.names == ("background", "left leaf", "right leaf", "stem", "crumbs")
    assert plant.classes == ("background", "leaf", "stem")
    np.testing.assert_array_equal(plant.class_of_row, [0, 1, 1, 2, 1])
    np.testing.assert_array_equal(plant.partners, [0, 2, 1, 3, 4])
    values = np.array([[[0, 7, 900], [901, -3, 41]]])
    rows, unknown = plant.to_rows(values)
    np.testing.assert_array_equal(rows, [[[0, 1, 2], [2, 3, 4]]])
    assert rows.dtype == np.uint8
    assert unknown == {}
    np.testing.assert_array_equal(plant.flip(rows), [[[1, 2, 0], [4, 3, 1]]])
    np.testing.assert_array_equal(plant.flip(plant.flip(rows)), rows)


@pytest.mark.parametrize("spread", [0, 2**30])
def test_unknown_values_are_counted(spread):
    values = np.array([0, 7, 8, 8, 12, spread])
    rows, unknown = table().to_rows(values)
    assert unknown == {8: 2, 12: 1} | ({spread: 1} if spread else {})
    np.testing.assert_array_equal(rows[:2], [0, 1])


def test_one_mistake_is_one():
    row = {"value": 1, "name": "first", "tissue": "air", "color": "red"}
    with pytest.raises(SourceError, match=r": 1 mistake:\n"):
        table([{"value": 0, "name": "background", "tissue": "air"}, row])


def test_all_mistakes_in_one_message():
    rows = [
        {"value": 1, "name": "first", "tissue": "air"},
        {"value": 2, "name": "same", "tissue": "air", "partner": 9},
        {"value": 3, "name": "same", "tissue": "air", "partner": 4},
        {"value": 4, "name": "one-sided", "tissue": "air", "partner": 4},
        {"value": 4, "name": "again", "tissue": "air", "color": "red"},
        {"value": 5, "name": "left", "tissue": "skin", "partner": 6},
        {"value": 6, "name": "right", "tissue": "air", "partner": 5},
        {"value": 1.5, "name": "half", "tissue": "air"},
        {"name": "no value"},
    ]
    with pytest.raises(SourceError) as caught:
        table(rows, row="x", catch_all={"values": [1]})
    text = str(caught.value)
    for expected in (
        "unknown key 'row'; did you mean 'rows'?",
        "row 0 must be background",
        "value 4 stands 2 times",
        "name 'same' stands 2 times",
        "its partner 9 is the value of no row",
        "left: of tissue 'skin', its partner 'right' of 'air'",
        "unknown key 'color'",
        "half: value and partner are integers",
        "a row needs value, name and tissue",
        "catch_all needs class, name, tissue, values",
    ):
        assert expected in text
    with pytest.raises(SourceError, match="a mapping with a list `rows`"):
        table_of([], "x.yaml")
    many = [{"value": i, "name": f"n{i}", "tissue": "air"} for i in range(257)]
    with pytest.raises(SourceError, match="257 rows; a label map in memory has at most 256"):
        table(many)


def test_a_table_is_found_by_its_name_or_file(tmp_path):
    (tmp_path / "plant.yaml").write_text(yaml.safe_dump({"rows": ROWS, "name": "fern"}))
    assert open_table("plant.yaml", tmp_path).name == "fern"
    with pytest.raises(SourceError, match="did you mean 'brain'"):
        open_table("brian", tmp_path)
    (tmp_path / "bad.yaml").write_text("rows: [")
    with pytest.raises(SourceError, match="not readable YAML"):
        open_table("bad.yaml", tmp_path)
    twice = "rows:\n  - {value: 0, name: a, tissue: air,\n     tissue: skin}\nname: no\nrows: []\n"
    (tmp_path / "twice.yaml").write_text(twice)
    with pytest.raises(SourceError) as caught:
        open_table("twice.yaml", tmp_path)
    assert "twice.yaml:3:6: tissue: given twice, first in line 2" in str(caught.value)
    assert "twice.yaml:5:1: rows: given twice, first in line 1" in str(caught.value)
    with pytest.raises(SourceError, match="did you mean 'left leaf'"):
        table().row("left leav")


@pytest.mark.parametrize("name", shipped_tables())
def test_shipped_tables_are_sound(name):
    shipped = open_table(name)
    np.testing.assert_array_equal(shipped.partners[shipped.partners], np.arange(len(shipped)))
    for row, partner in enumerate(shipped.partners):
        if row != partner:  # a pair has one tissue and one class, and names that differ by the side
            one, other = shipped.rows[row], shipped.rows[partner]
            assert (one.tissue, one.group) == (other.tissue, other.group)
            swapped = one.name.replace("left", "?").replace("right", "left").replace("?", "right")
            assert swapped == other.name
    tissues = {tissue.name for tissue in open_tissues()}
    assert set(shipped.tissues) <= tissues


def test_the_rows_of_a_thigh_are_those_of_its_kernel():
    rows = open_table("thigh")
    for number, name in (
        (kernel.BACKGROUND, "background"),
        (kernel.SKIN, "skin"),
        (kernel.FAT, "subcutaneous fat"),
        (kernel.IMF, "intermuscular fat"),
        (kernel.FASCIA, "fascia"),
        (kernel.MUSCLE, "other muscle"),
        (kernel.CORTEX, "cortical bone"),
        (kernel.MARROW, "marrow"),
        (kernel.ARTERY, "artery"),
        (kernel.VEIN, "vein"),
        (kernel.NERVE, "nerve"),
        (kernel.FIRST_MUSCLE, "sartorius"),
    ):
        assert rows.row(name) == number
    assert all(row.values == (i,) for i, row in enumerate(rows.rows))
    assert rows.classes == (
        *("background", "subcutaneous fat", "intermuscular fat", "muscle"),
        *("cortical bone", "marrow"),
    )
