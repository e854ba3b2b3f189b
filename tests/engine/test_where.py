import numpy as np
import pytest
import stores

from voxelmill.engine.reader import open_store
from voxelmill.engine.sample import Column, Ragged
from voxelmill.engine.store import create
from voxelmill.engine.where import parse_where

COUNT = 11


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    path = stores.make(tmp_path_factory.mktemp("stores") / "x.zarr")
    return open_store(path)


SAMPLES = [stores.sample(i) for i in range(COUNT)]
SUBJECT = [stores.SUBJECTS[int(s["params"][0])] for s in SAMPLES]
ANGLE = [s["params"][1] for s in SAMPLES]
AREAS = [s["objects"][:, 1] for s in SAMPLES]


def _chosen(reader, where):
    found = [b["index"] for b in reader.batches(1, where=where)]
    return sorted(np.concatenate(found).tolist())


@pytest.mark.parametrize(
    ("where", "due"),
    [
        ("angle > 0.5", [i for i in range(COUNT) if ANGLE[i] > 0.5]),
        ("0.5 < angle", [i for i in range(COUNT) if ANGLE[i] > 0.5]),
        ("0.2 < angle <= 0.7", [i for i in range(COUNT) if 0.2 < ANGLE[i] <= 0.7]),
        ("not angle > 0.5", [i for i in range(COUNT) if not ANGLE[i] > 0.5]),
        ("subject == 'bob'", [i for i in range(COUNT) if SUBJECT[i] == "bob"]),
        ("'bob' != subject", [i for i in range(COUNT) if SUBJECT[i] != "bob"]),
        ("subject in ('bob', 'cid')", [i for i in range(COUNT) if SUBJECT[i] != "ann"]),
        ("subject not in ['bob']", [i for i in range(COUNT) if SUBJECT[i] != "bob"]),
        ("subject == 1", [i for i in range(COUNT) if SUBJECT[i] == "bob"]),
        (
            "subject == 'ann' and angle < 0.5 or subject == 'cid' and not angle < 0.5",
            [
                i
                for i in range(COUNT)
                if (SUBJECT[i] == "ann" and ANGLE[i] < 0.5)
                or (SUBJECT[i] == "cid" and ANGLE[i] >= 0.5)
            ],
        ),
        ("angle > -1", list(range(COUNT))),
        ("area > 0.99", [i for i in range(COUNT) if (AREAS[i] > 0.99).any()]),
        ("objects.area > 0.99", [i for i in range(COUNT) if (AREAS[i] > 0.99).any()]),
        (
            "area > 0.98 and kind < 0.2",  # of the same row
            [
                i
                for i in range(COUNT)
                if any(a > 0.98 and k < 0.2 for k, a in SAMPLES[i]["objects"])
            ],
        ),
        (
            "area > 0.9 and subject == 'ann'",
            [i for i in range(COUNT) if SUBJECT[i] == "ann" and (AREAS[i] > 0.9).any()],
        ),
        ("length >= 0", [i for i in range(COUNT) if i % 4]),  # no row, no yes
    ],
)
def test_conditions(reader, where, due):
    assert due
    assert len(due) < COUNT or where == "angle > -1"
    assert _chosen(reader, where) == due


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("angel > 1", "no column 'angel'; did you mean 'angle'?"),
        ("objects.areas > 1", "no column 'areas'; did you mean 'area'?"),
        ("object.area > 1", "no ragged field 'object'; did you mean 'objects'?"),
        ("subject == 'bobb'", "subject is never 'bobb'; did you mean 'bob'?"),
        ("angle == 'bob'", "angle is never 'bob'; there is none"),
        ("subject > 'bob'", "a word has no order; compare it by == or !="),
        ("1 < 2", "compares no column"),
        ("angle", "'angle' is not in its language"),
        ("angle > 1 + 1", "'1 + 1' is not in its language"),
        ("angle + 1 > 1", "'angle + 1' is not in its language"),
        ("angle is 1", "'angle' is not in its language"),
        ("abs(angle) > 1", r"'abs(angle)' is not in its language"),
        ("__import__('os').system('true')", "is not in its language"),
        ("angle > (lambda: 1)()", "is not in its language"),
        ("angle in 3", "'3' is not in its language"),
        ("angle in ()", "'()' is not in its language"),
        ("objects.area.real > 1", "is not in its language"),
        ("angle > None", "'None' is not in its language"),
        ("angle >", "is no condition"),
        ("", "is no condition"),
        ("angle = 1", "is no condition"),
        ("a" * 10 + "(" * 500, "is no condition"),
        ("area > 1 and length > 1", "names rows of objects and runs: ask of one of them"),
    ],
)
def test_what_is_not_in_the_language_is_refused_in_words(reader, where, words):
    with pytest.raises(ValueError, match="where=") as caught:
        reader.batches(1, where=where)
    assert words in str(caught.value)


def test_a_mask_is_no_condition(reader):
    with pytest.raises(TypeError, match="where= is a condition in a str, not ndarray"):
        reader.batches(1, where=reader.params["angle"] > 0)


def test_a_column_of_two_fields_wants_its_field():
    fields = (
        Ragged("boxes", (Column("area"),), 3),
        Ragged("lines", (Column("area"), Column("angle")), 3),
    )
    d = stores.describe(fields=fields)
    with pytest.raises(ValueError, match=r"'area' is in two fields; write boxes\.area or lines\."):
        parse_where("area > 1", d)
    assert parse_where("lines.area > 1", d).table == "lines"
    assert parse_where("angle > 1", d).table is None  # params go first
    assert parse_where("lines.angle > 1", d).table == "lines"


def test_a_column_may_be_a_keyword_of_python():
    things = Ragged("things", (Column("class", categories=("wire", "clip")), Column("from")), 3)
    d = stores.describe(fields=(things,))
    for text in ("class == 'wire' and from > 2", "things.class == 'wire' and 2 < things.from"):
        where = parse_where(text, d)
        by_number = {n.number: n for n in where.names}
        values = {by_number[0]: np.array([0, 0, 1.0]), by_number[1]: np.array([1, 3, 3.0])}
        assert where(values).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="class is never 'clib'; did you mean 'clip'"):
        parse_where("class == 'clib'", d)
    with pytest.raises(ValueError, match="'class' is not in its language"):
        parse_where("class", d)
    with pytest.raises(ValueError, match="is no condition"):
        parse_where("if > 2", d)


def test_the_state_says_the_subset(reader):
    a, b = (reader.batches(1, where=w).state_dict() for w in ("angle > 0.5", "angle > 0.4"))
    assert a["digest"] != b["digest"]
    same = reader.batches(1, where="not angle <= 0.5")
    same.load_state_dict(a)
    rest = [int(b["index"][0]) for b in same]
    assert sorted(rest) == [i for i in range(COUNT) if ANGLE[i] > 0.5]


@pytest.mark.parametrize("where", ["angle != 7", "not angle > 7", "area > -1", "not area > 7"])
def test_what_is_not_made_yet_is_in_no_subset(tmp_path, where):
    path, d = tmp_path / "x.zarr", stores.describe()
    create(path, d)
    stores.write(path, d, 1)
    assert set(_chosen(open_store(path, partial=True), where)) <= {4, 5, 6, 7}
