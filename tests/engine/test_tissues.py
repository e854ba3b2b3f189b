"""Tissue tables: complete, sourced, drawn by source family."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import yaml

from voxelmill.engine.draw import Stream
from voxelmill.engine.errors import SourceError
from voxelmill.engine.tissues import AT, MARKS, SHIPPED, open_tissues


@pytest.fixture
def whole():
    return yaml.safe_load(SHIPPED.read_text("utf-8"))


def opened(tmp_path, whole):
    path = tmp_path / "tissues.yaml"
    path.write_text(yaml.safe_dump(whole), "utf-8")
    return open_tissues(path)


def rows(tesla, count=400):
    tissues = open_tissues()
    table = np.stack([tissues.draw(Stream(5, i), tesla) for i in range(count)])
    return {name: table[:, i] for i, name in enumerate(tissues.by_name)}


def test_every_value_has_a_source_and_a_mark():
    tissues = open_tissues()
    for tissue in tissues:
        values = [tissue.pd, tissue.fat_fraction, *tissue.t2s_ms.values(), *tissue.relaxation]
        assert all(v.source in tissues.sources and v.mark in MARKS for v in values), tissue.name


@pytest.mark.parametrize("tesla", [1.5, 3.0])
def test_all_tissues_have_both_usual_fields_and_drawn_values_make_sense(tesla):
    tissues = open_tissues()
    tissues.require(list(tissues.by_name), tesla)
    for name, drawn in rows(tesla).items():
        assert np.isfinite(drawn).all(), name
        assert (drawn[:, AT["t2_ms"]] <= drawn[:, AT["t1_ms"]] * 1.01).all(), name
        assert (drawn[:, [AT["t1_ms"], AT["t2_ms"], AT["t2s_ms"]]] > 0).all(), name


@pytest.mark.parametrize("tesla", [1.5, 3.0])
def test_no_pool_keeps_its_phase_longer_than_its_t2(tesla):
    """1/T2* >= 1/T2 of both pools, and the lesser one is as its like where that allows it."""
    tissues, found = open_tissues(), rows(tesla, 2000)
    for name, drawn in found.items():
        t2s, fat = drawn[:, AT["t2s_ms"]], drawn[:, AT["fat_fraction"]]
        entry = tissues.by_name[name]
        for main, column, share in (("water", "t2_ms", 1 - fat), ("fat", "fat_t2_ms", fat)):
            t2, there = drawn[:, AT[column]], share > 0
            assert (1 / t2s >= 1 / t2)[there].all(), (name, column)
            assert (t2 <= drawn[:, AT[column] - 1])[there].all(), (name, column)
            if entry.main != main:
                like = found["skeletal muscle" if main == "water" else "subcutaneous fat"]
                given = like[:, AT[column]]
                np.testing.assert_array_equal(t2[there], np.maximum(given, t2s)[there])
        top = entry.t2s_ms[tesla].high
        assert (t2s <= top).all(), name
    fat = found["subcutaneous fat"]
    assert (fat[:, AT["t2_ms"]] == fat[:, AT["t2s_ms"]]).any()  # the rule was needed


def test_the_source_is_drawn_and_not_the_mean_of_the_sources():
    t1 = rows(3.0)["skeletal muscle"][:, AT["t1_ms"]]
    near_bazelaire, between = abs(t1 - 898) < 85, (t1 > 985) & (t1 < 1120)
    assert 0.2 < near_bazelaire.mean() < 0.45
    assert between.mean() < 0.05


def test_tissues_of_a_sample_share_their_source_where_they_can():
    drawn = rows(3.0)
    first, second = (drawn[n][:, AT["source"]] for n in ("white matter", "grey matter"))
    np.testing.assert_array_equal(first, second)


def test_a_draw_is_the_same_alone():
    tissues = open_tissues()
    np.testing.assert_array_equal(
        tissues.draw(Stream(5, 3), 3.0), np.stack(list(rows(3.0, 5).values()), 1)[3]
    )


def test_unknown_tissues_and_fields_are_refused_with_the_nearest_word():
    tissues = open_tissues()
    with pytest.raises(SourceError, match=r"'skeletal muscel'; did you mean 'skeletal muscle'"):
        tissues.require(["skeletal muscel"], 3.0)
    with pytest.raises(SourceError, match=r"not at 7 T"):
        tissues.require(["white matter"], 7.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t1": -900}, "T2 32 must be above 0 and not above T1 -900"),
        ({"t2": 0}, "T2 0 must be above 0"),
        ({"source": "nobody"}, "unknown source 'nobody'"),
        ({"mark": "X"}, "mark 'X' must be one of V, C, D, M"),
        ({"t3": 1}, "unknown key 't3'"),
    ],
)
def test_bad_relaxation_is_refused(tmp_path, whole, change, message):
    whole["tissues"]["skeletal muscle"]["relaxation"][4].update(change)
    with pytest.raises(SourceError, match=message):
        opened(tmp_path, whole)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda w: w.update(sources=["stanisz"]), "sources and tissues are mappings"),
        (lambda w: w.update(tissues=["muscle"]), "sources and tissues are mappings"),
        (lambda w: w["sources"]["gold"].pop("cite"), "a source has a cite"),
        (lambda w: w.update(cv="much"), "cv is a number"),
        (lambda w: w.update(cv=float("nan")), "cv nan must be within 0 and 1"),
        (lambda w: w.update(cv=-0.1), "cv -0.1 must be within 0 and 1"),
        (
            lambda w: w["tissues"]["nerve"].update(spectrum="hamiltan"),
            "nerve: unknown spectrum 'hamiltan'; did you mean 'hamilton'",
        ),
        (
            lambda w: w["tissues"]["nerve"]["relaxation"][0].update(t1=float("inf")),
            "not above T1 inf",
        ),
        (
            lambda w: w["tissues"]["nerve"]["relaxation"][0].update(t1_sd=-10),
            "-10 is no standard deviation",
        ),
    ],
)
def test_a_file_that_is_no_table_of_tissues_is_refused(tmp_path, whole, change, expected):
    change(whole)
    with pytest.raises(SourceError) as told:
        opened(tmp_path, whole)
    assert expected in str(told.value)


def test_a_file_that_changes_is_read_again(tmp_path, whole):
    assert opened(tmp_path, whole).by_name["nerve"].pd.high < 1.1
    whole["tissues"]["nerve"]["pd"]["range"] = [1.1, 1.1]
    assert opened(tmp_path, whole).by_name["nerve"].pd.high == 1.1


def test_all_mistakes_come_in_one_message(tmp_path, whole):
    whole["tissues"]["csf"]["pd"]["range"] = [1, 0.5]
    whole["tissues"]["liver"]["fat_fracton"] = {}
    whole["tissues"]["blood"] = 3
    del whole["tissues"]["subcutaneous fat"]
    with pytest.raises(SourceError) as error:
        opened(tmp_path, whole)
    for part in ("csf.pd: [1, 0.5]", "did you mean 'fat_fraction'", "blood: must have",
                 "'subcutaneous fat' must be there"):  # fmt: skip
        assert part in str(error.value)


def test_the_page_of_tissues_is_in_step():
    root = Path(__file__).resolve().parents[2]
    made = runpy.run_path(str(root / "benchmarks" / "make_tissue_page.py"))["page"](open_tissues())
    cure = "run `python benchmarks/make_tissue_page.py`"
    assert (root / "docs" / "tissues.md").read_text("utf-8") == made, cure
    assert made.count(", M)") + made.count("| M |") > 20
    for source in open_tissues().sources.values():
        assert source in made
