"""Specs: every mistake in one message with its place, digests, differences, schema."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from voxelmill.engine import recipes, spec
from voxelmill.engine.draw import (
    Choice,
    Fixed,
    Integer,
    LogUniform,
    Stream,
    TruncatedNormal,
    Uniform,
)
from voxelmill.engine.errors import SpecError
from voxelmill.engine.sample import Column, Field, Ragged
from voxelmill.engine.spec import (
    Store,
    content_digest,
    differences,
    from_dict,
    layout_digest,
    read_spec,
    spec_dict,
)
from voxelmill.engine.split import Split

RECIPE = '''
from dataclasses import dataclass, field
from typing import Literal

from voxelmill.engine.draw import Choice, Integer, Range, Uniform, ranged
from voxelmill.engine.errors import SpecError

VERSION = 3
NAMES = ("a", "b")


@dataclass(frozen=True)
class Ring:
    """A ring."""

    stroke_px: Range = ranged(Uniform(1, 3), "width", low=0, high=50, unit="px")
    place: Choice = ranged(Choice({"heart": 1, "aorta": 1}), "where")


@dataclass(frozen=True)
class Ranges:
    size: int = ranged(64, "side", low=8, high=100, unit="px")
    count: Range = ranged(Integer(1, 12), "objects", low=1, high=16)
    only: Integer = ranged(Integer(1, 2))
    free: Choice = field(default=Choice({"z": 1, "y": 2}), metadata={"words": ()})
    shape: tuple[int, int] = ranged((5, 6), "shape", low=1)
    share: float = ranged(0.5, low=0, high=1)
    mode: Literal["fast", "slow"] = ranged("fast")
    mirror: bool = ranged(False)
    ring: Ring = ranged(Ring(stroke_px=Uniform(2, 4)))


@dataclass(frozen=True)
class Inputs:
    films: str = ranged("shipped", "where")


@dataclass(frozen=True)
class Params:
    a: float


def check(ranges, inputs):
    if ranges.size == 13:
        raise SpecError("size 13 brings bad luck")


def open_inputs(inputs, folder, skip_bad): ...
def fields(ranges, inputs): return ()
def draw(ranges, stream, inputs): return Params(1.0)
def render(ranges, draws, inputs, xp): return {}
'''
HEAD = "recipe: toy\ncount: 3\n"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "toy.py"
    path.write_text(RECIPE)
    return path


def ranges_of(toy, text, *overrides):
    return read_spec(f"{HEAD}ranges: {{{text}}}\n", overrides, toy).ranges


def message(toy, text, *overrides):
    with pytest.raises(SpecError) as caught:
        read_spec(text, overrides, toy)
    return str(caught.value)


def test_defaults_are_filled_in(toy):
    made = read_spec(HEAD, (), toy)
    assert (made.count, made.seed, made.samples_per_shard) == (3, 0, None)
    assert made.ranges.ring.stroke_px == Uniform(2, 4)
    assert made.inputs.films == "shipped"
    assert made.store == Store("raw", "zstd", 1)
    assert list(spec_dict(made)) == [
        "recipe", "count", "seed", "samples_per_shard", "inputs", "split", "ranges", "store",
    ]  # fmt: skip
    assert made.module.VERSION == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", Fixed(2.0)),
        ("{fixed: 2.5}", Fixed(2.5)),
        ("{uniform: [1, 2]}", Uniform(1.0, 2.0)),
        ("{loguniform: [1e-3, 2]}", LogUniform(0.001, 2.0)),
        ("{integer: [1, 2]}", Integer(1, 2)),
        ("{normal: {mean: 3, sd: 1, low: 1, high: 5}}", TruncatedNormal(1.0, 5.0, 3.0, 1.0)),
    ],
)
def test_each_form_of_a_range(toy, text, expected):
    made = ranges_of(toy, f"ring: {{stroke_px: {text}}}").ring
    assert made.stroke_px == expected
    assert made.place == Choice({"heart": 1, "aorta": 1})  # what is not set stays


def test_numbers_become_what_the_field_holds(toy):
    assert ranges_of(toy, "only: 2").only == Integer(2, 2)
    assert ranges_of(toy, "count: {integer: [1, 2]}").count == Integer(1, 2)
    assert type(ranges_of(toy, "share: 1").share) is float
    assert ranges_of(toy, "shape: [3, 4], mode: slow, mirror: true").shape == (3, 4)


def test_choices_are_put_in_order(toy):
    assert list(ranges_of(toy, "ring: {place: aorta}").ring.place.weights.items()) == [
        ("heart", 0.0),
        ("aorta", 1.0),
    ]
    made = ranges_of(toy, "free: {choice: {b: 1, y: 2, a: 3, z: 4}}").free
    assert list(made.weights) == ["z", "y", "a", "b"]  # those of the default first
    assert list(ranges_of(toy, "free: other").free.weights) == ["other"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1_000", 1000), ("0x10", 16), ("1e3", None), ("no", None), ("010", 10), (".inf", None)],
)
def test_scalars_are_read_as_yaml_1_2(toy, text, value):
    if value is None:
        assert "count: must be a whole number" in message(toy, f"recipe: toy\ncount: {text}\n")
    else:
        assert read_spec(f"recipe: toy\ncount: {text}\n", (), toy).count == value


def test_all_mistakes_are_told_with_their_places(toy, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        """recipe: toy
count: 0
cuont: 3
seed: -1
samples_per_shard: 2.5
ranges:
  count: {integer: [5, 2]}
  cuont: 3
  size: "64"
  shape: [3, a]
  share: 1.5
  mode: fats
  mirror: maybe
  ring:
    stroke_px: {uniform: [1, 80]}
    stroke: 3
    place: {choice: {hart: 1, aorta: many}}
split: {val: 0.5, test: 0.5}
inputs: {film: x}
store: {images: zst, zstd_level: 20}
"""
    )
    text = message(toy, path, "ranges.shape=[1]", "count", "seed.x=3", "ranges.count=1.5")
    assert text.splitlines() == [
        "21 mistakes:",
        *(
            f"  {path}:{line}"
            for line in (
                "2:8: count: 0 is below 1, the least allowed",
                "3:1: unknown key 'cuont'; did you mean 'count'?",
                "4:7: seed: -1 is below 0, the least allowed",
                "5:20: samples_per_shard: must be a whole number, not 2.5",
                "8:3: ranges: unknown key 'cuont'; did you mean 'count'?",
                '9:9: ranges.size: must be a whole number, not "64"',
                "11:10: ranges.share: 1.5 is above 1, the most allowed",
                "12:9: ranges.mode: unknown word 'fats'; did you mean 'fast'?",
                '13:11: ranges.mirror: must be true or false, not "maybe"',
                "15:26: ranges.ring.stroke_px: 80 is above 50 px, the most allowed",
                "16:5: ranges.ring: unknown key 'stroke'; did you mean 'stroke_px'?",
                "17:22: ranges.ring.place: unknown word 'hart'; did you mean 'heart'?",
                "17:38: ranges.ring.place: the weight of 'aorta' must be a number, not \"many\"",
                "18:8: split: val 0.5 and test 0.5 leave no training data; their sum must be "
                "below 1",
                "19:10: inputs: unknown key 'film'; did you mean 'films'?",
                "20:17: store.images: unknown word 'zst'; did you mean 'zstd'?",
                "20:34: store.zstd_level: 20 is above 19, the most allowed",
            )
        ),
        "  --set count: must be key=value, as in --set ranges.count=3",
        "  --set seed.x=3: seed: holds one value, not keys",
        "  --set ranges.count=1.5: ranges.count: must be a whole number, not 1.5",
        "  --set ranges.shape=[1]: ranges.shape: must be a list of 2 values, not [1]",
    ]


@pytest.mark.parametrize(
    ("ring", "expected"),
    [
        ("{uniform: [5, 2]}", "low 5 is above high 2; swap them"),
        ("{uniform: [5]}", "uniform takes [low, high], two numbers, not [5]"),
        ("{loguniform: [0, 2]}", "low 0 of a loguniform must be above 0"),
        ("{integer: [1.5, 2]}", "[1.5, 2] of an integer must be whole numbers"),
        ("{unifrom: [1, 2]}", "must be a number or one of {fixed: 3}, {uniform: [low, high]}"),
        ("{uniform: [1, 2], fixed: 3}", "must be a number or one of"),
        ("{fixed: a}", 'fixed takes a number, not "a"'),
        ("{fixed: -1}", "-1 is below 0 px, the least allowed"),
        ("wide", "must be a number or one of {fixed: 3}, {uniform: [low, high]}"),
        ("{normal: {mean: 1, sd: 1}}", "must be {normal: {mean: , sd: , low: , high: }}"),
        ("{normal: {mean: 1, sd: 0, low: 0, high: 2}}", "sd 0 must be above 0"),
        ("{normal: {mean: 1, sd: 0.01, low: 9, high: 10}}", "[9, 10] is too far from mean 1"),
        ("true", "must be a number or one of"),
        (".nan", "must be a number or one of"),
    ],
)
def test_a_bad_range(toy, ring, expected):
    text = message(toy, f"{HEAD}ranges:\n  ring:\n    stroke_px: {ring}\n")
    assert text.startswith("spec:5:")
    assert f"ranges.ring.stroke_px: {expected}" in text


def test_a_field_of_whole_numbers_takes_no_others(toy):
    text = message(toy, f"{HEAD}ranges: {{count: {{uniform: [1, 2]}}, only: 1.5}}\n")
    assert "ranges.count: must be a whole number or one of {fixed: 3}, {integer: " in text
    assert "ranges.only: " in text


def test_bad_choices(toy):
    for place, expected in (
        ("3", "must be a word or weights, as in heart or {choice: {heart: 1.0, ...}}, not 3"),
        ("{choice: {}}", "must be a word or weights"),
        ("{choice: {heart: -1}}", "weights must be finite and not negative"),
        ("{choice: {heart: 0}}", "at least one weight must be above 0"),
    ):
        text = message(toy, f"{HEAD}ranges: {{ring: {{place: {place}}}}}\n")
        assert f"ranges.ring.place: {expected}" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("recipe: toy\ncount: [1\n", "spec:3:1: this is not YAML: expected ',' or ']'"),
        ("recipe: toy\ncount: 3\ncount: 4\n", "spec:3:1: count: given twice, first in line 2"),
        ("recipe: &a toy\ncount: *a\n", "spec:2:8: *a: aliases are not taken"),
        ("recipe: !!python/name:os.system toy\ncount: 3\n", "is not taken"),
        ("recipe: toy\ncount: 3\n---\nrecipe: toy\n", "spec:3:1: a second document"),
        ("recipe: toy\ncount: 3\n? [a, b]\n: 3\n", "spec:3:3: a key must be a plain word"),
        ("- recipe: toy\n- count: 3\n", "spec:1:1: must hold keys (recipe, count, seed, "),
        ("recipe: toy\ncount: 3\nranges: 3\n", "spec:3:9: ranges: must hold keys (size, "),
        ("recipe: toy\ncount: " + "[" * 30 + "]" * 30 + "\n", "nested more than 20 deep"),
        ("recipe: toy\n", "spec:1:1: count: is missing"),
        ("\n", "recipe: is missing"),
        ("recipe: toy\ncount: 3\x00\n", "this is not YAML"),
        (f"recipe: toy\ncount: {'9' * 5000}\n", "count: must be a whole number"),
        (f"recipe: toy\ncount: 3\nseed: {2**64}\n", "is above 1.84467440737096e+19"),
        (f"{HEAD}ranges: {{size: 13}}\n", "spec:3:9: size 13 brings bad luck"),
    ],
)
def test_what_is_no_spec(toy, text, expected):
    assert expected in message(toy, text)


def test_empty_groups_are_as_absent_ones(toy):
    assert read_spec(f"{HEAD}ranges:\ninputs:\nsplit:\n", (), toy) == read_spec(HEAD, (), toy)


def test_unreadable_files(tmp_path):
    for path, expected in (
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (str(tmp_path / "none.yaml"), "No such file"),
    ):
        with pytest.raises(SpecError, match=expected):
            read_spec(path)
    (tmp_path / "latin.yaml").write_bytes(b"recipe: \xff\n")
    with pytest.raises(SpecError, match="can't decode"):
        read_spec(tmp_path / "latin.yaml")


def test_unknown_recipe_is_told_with_other_mistakes():
    with pytest.raises(SpecError) as caught:
        read_spec("recipe: cxr_objcts\ncount: 0\nranges: {x: 3}\nshard: 3\n")
    lines = str(caught.value).splitlines()
    assert lines[1].endswith("unknown recipe 'cxr_objcts'; did you mean 'cxr_objects'?")
    assert len(lines) == 4


def test_a_spec_alone_imports_no_file(toy):
    with pytest.raises(SpecError, match=r"unknown recipe .*toy\.py"):
        read_spec(f"recipe: {toy}\ncount: 3\n")
    assert "recipe: 'other' is not 'toy', the recipe of" in message(
        toy, "recipe: other\ncount: 3\n"
    )


def test_recipe_files(tmp_path, toy):
    with pytest.raises(SpecError, match="no such recipe file"):
        recipes.load(tmp_path / "none.py")
    (tmp_path / "cxr_objects.py").write_text(RECIPE)
    with pytest.raises(SpecError, match="built-in recipe; rename"):
        recipes.load(str(tmp_path / "cxr_objects.py"))
    (tmp_path / "half.py").write_text("VERSION = 1\nclass Inputs: ...\n")
    lacks = "lacks NAMES, Ranges, Params, fields, draw, render, open_inputs"
    with pytest.raises(SpecError, match=lacks):
        recipes.load(tmp_path / "half.py")
    (tmp_path / "twice.py").write_text(RECIPE.replace('("a", "b")', '("a", "b", "a")'))
    with pytest.raises(SpecError, match="'a' and 'a' of NAMES draw the same numbers"):
        recipes.load(tmp_path / "twice.py")
    (tmp_path / "clash.py").write_text(RECIPE.replace('("a", "b")', '("plumless", "buckeroo")'))
    with pytest.raises(SpecError, match="'buckeroo' and 'plumless' of NAMES"):  # one CRC-32
        recipes.load(tmp_path / "clash.py")
    assert recipes.load(toy) is recipes.load(str(toy))
    with pytest.raises(SpecError, match="unknown recipe 'toy'"):
        recipes.load("toy")


def test_recipes_of_installed_packages(monkeypatch, toy):
    module = recipes.load(toy)

    class Point:
        name, value = "foreign", "package.foreign"

        def load(self):
            return module

    monkeypatch.setattr(recipes, "entry_points", lambda group: [Point()])
    recipes.named.cache_clear()
    assert recipes.load("foreign") is module
    assert set(recipes.known()) == {*recipes.RECIPES, "foreign"}
    assert read_spec("recipe: foreign\ncount: 2\n").count == 2
    recipes.named.cache_clear()


def test_overrides_are_yaml_and_the_last_one_wins(toy):
    made = read_spec(
        HEAD, ["seed=0x10", "ranges.ring.stroke_px={integer: [2, 5]}", "count=5", "count=6"], toy
    )
    assert (made.seed, made.count) == (16, 6)
    assert made.ranges.ring.stroke_px == Integer(2, 5)
    assert message(toy, HEAD, "count=0") == (
        "--set count=0: count: 0 is below 1, the least allowed"
    )
    assert "--set cout=3: unknown key 'cout'; did you mean 'count'?" in message(toy, HEAD, "cout=3")
    assert "--set count={a: [}: this is not YAML" in message(toy, HEAD, "count={a: [}")


RANGES = st.one_of(
    st.floats(0, 50).map(lambda v: v + 0.0),
    st.tuples(st.floats(0, 50), st.floats(0, 50)).map(lambda p: {"uniform": sorted(p)}),
    st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda p: {"integer": sorted(p)}),
)


@settings(deadline=None, max_examples=60)
@given(
    RANGES,
    st.integers(0, 2**64 - 1),
    st.dictionaries(st.sampled_from(["heart", "aorta"]), st.floats(0.1, 9), min_size=1),
)
def test_a_spec_goes_into_a_dict_and_back(toy, stroke, seed, place):
    data = {
        "recipe": "toy",
        "count": 3,
        "seed": seed,
        "ranges": {"ring": {"stroke_px": stroke, "place": {"choice": place}}},
    }
    made = read_spec(yaml.safe_dump(data), (), toy)
    written = json.loads(json.dumps(spec_dict(made)))
    again = from_dict(written, recipe_file=toy)
    assert again == made
    assert spec_dict(again) == spec_dict(made)
    assert content_digest(again, "x", 1) == content_digest(made, "x", 1)


def test_the_stored_spec_is_read_as_strictly(toy):
    data = spec_dict(read_spec(HEAD, (), toy))
    with pytest.raises(SpecError, match="the stored spec: unknown key 'cuont'"):
        from_dict({**data, "cuont": 3}, recipe_file=toy)


def test_content_digest(toy):
    def digest(text, inputs="i", version=1):
        return content_digest(read_spec(text, (), toy), inputs, version)

    base = digest(HEAD)
    assert len(base) == 64
    for same in (
        "count: 9\nrecipe: toy\n",
        f"{HEAD}samples_per_shard: 8\nstore: {{labels: raw}}\ninputs: {{films: other}}\n",
        f"{HEAD}ranges: {{ring: {{place: {{choice: {{aorta: 1, heart: 1}}}}}}}}\n",
        f"{HEAD}ranges: {{share: 0.5, free: {{choice: {{y: 2, z: 1}}}}}}\n",
    ):
        assert digest(same) == base
    others = {
        digest(f"{HEAD}seed: 1\n"),
        digest(f"{HEAD}ranges: {{share: 0.25}}\n"),
        digest(f"{HEAD}ranges: {{ring: {{place: aorta}}}}\n"),
        digest(HEAD, inputs="j"),
        digest(HEAD, version=2),
    }
    assert len(others | {base}) == 6


def test_layout_digest():
    image = Field("image", "uint8", ("y", "x"), (5, 6), "grey", "a film")
    other = Field("image", "uint8", ("y", "x"), (5, 7), "grey", "a film")
    label = Field("label", "uint8", ("y", "x"), (5, 6), labels={0: "none", 1: "a"}, is_label=True)
    rows = Ragged("objects", (Column("class", categories=("a", "b")),), 4)
    base = layout_digest(8, (image, label, rows), Store())
    digests = {
        base,
        layout_digest(16, (image, label, rows), Store()),
        layout_digest(8, (other, label, rows), Store()),
        layout_digest(8, (label, image, rows), Store()),
        layout_digest(8, (image, label), Store()),
        layout_digest(8, (image, label, rows), Store(labels="raw")),
    }
    assert len(digests) == 6
    better = Field("image", "uint8", ("y", "x"), (5, 6), "grey", "a radiograph")
    assert layout_digest(8, (better, label, rows), Store()) == base


def test_differences(toy):
    a = spec_dict(read_spec(HEAD, (), toy))
    b = spec_dict(
        read_spec(
            HEAD,
            ["seed=2", "ranges.count={integer: [1, 5]}", "ranges.only=1", "ranges.share=0.25",
             "ranges.ring.stroke_px={loguniform: [2, 4]}", "ranges.ring.place=heart"],
            toy,
        )
    )  # fmt: skip
    assert differences(a, a) == []
    assert differences(a, b) == [
        "seed: 0 in the store, 2 in the spec",
        "ranges.count.integer: [1, 12] in the store, [1, 5] in the spec",
        "ranges.only.integer: [1, 2] in the store, [1, 1] in the spec",
        "ranges.share: 0.5 in the store, 0.25 in the spec",
        'ranges.ring.stroke_px: {"uniform": [2.0, 4.0]} in the store, '
        '{"loguniform": [2.0, 4.0]} in the spec',
        "ranges.ring.place.choice.aorta: 1.0 in the store, 0.0 in the spec",
    ]
    del a["store"]
    assert differences(a, b)[-1].startswith("store: nothing in the store, {")


def test_schema_takes_what_the_reader_takes(toy):
    schema = spec.schema(toy)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    ring = schema["properties"]["ranges"]["properties"]["ring"]
    assert ring["properties"]["stroke_px"]["description"] == "width [px]"
    assert ring["properties"]["stroke_px"]["default"] == {"uniform": [2.0, 4.0]}
    validator.validate(spec_dict(read_spec(HEAD, (), toy)))
    for text in ("ranges:", "ranges: {only: 1, ring: {stroke_px: {fixed: 3}, place: heart}}"):
        read_spec(f"{HEAD}{text}\n", (), toy)
        validator.validate(yaml.safe_load(f"{HEAD}{text}\n"))
    for text in (
        "count: 0",
        "seed: -1",
        "cuont: 3",
        "ranges: {cuont: 3}",
        "ranges: {size: 7}",
        "ranges: {count: {uniform: [1, 2]}}",
        "ranges: {shape: [0, 3]}",
        "ranges: {mode: fats}",
        "ranges: {ring: {stroke_px: {uniform: [1, 80]}}}",
        "ranges: {ring: {place: hart}}",
        "store: {images: zst}",
        "split: {val: 2}",
        "samples_per_shard: 0",
    ):
        with pytest.raises(SpecError):
            read_spec(f"recipe: toy\n{text}\ncount: 3\n" if "count: 0" not in text
                      else f"recipe: toy\n{text}\n", (), toy)  # fmt: skip
        data = {"recipe": "toy", "count": 3, **yaml.safe_load(text)}
        assert not validator.is_valid(data), text


def test_split_goes_by_subject():
    split = Split(val=0.2, test=0.1)
    subjects = [f"person-{i}" for i in range(4000)]
    parts = [split.part(s) for s in subjects]
    assert parts == [split.part(s) for s in reversed(subjects)][::-1]
    assert abs(parts.count("val") / 4000 - 0.2) < 0.02
    assert abs(parts.count("test") / 4000 - 0.1) < 0.02
    wider = [Split(val=0.3, test=0.1).part(s) for s in subjects]
    assert all(w == p or (p, w) == ("train", "val") for p, w in zip(parts, wider, strict=True))
    assert {Split().part(s) for s in subjects} == {"train"}
    with pytest.raises(ValueError, match="leave no training data"):
        Split(0.6, 0.4)


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_each_recipe_has_a_spec_and_a_schema(name):
    made = read_spec(f"recipe: {name}\ncount: 3\n")
    assert made.ranges == recipes.load(name).Ranges()
    written = json.loads(json.dumps(spec_dict(made)))
    assert from_dict(written) == made
    jsonschema.Draft202012Validator(spec.schema(name)).validate(written)


def test_a_spec_pickles_for_a_process_that_must_load_the_recipe_file(toy):
    made = read_spec(HEAD, ["ranges.size=10", "seed=5"], toy)
    pickled = pickle.dumps(made)
    code = "import pickle, sys; s = pickle.load(sys.stdin.buffer); print(s.seed, s.ranges.size)"
    out = subprocess.run(
        [sys.executable, "-c", code], input=pickled, capture_output=True, check=True
    )
    assert out.stdout.split() == [b"5", b"10"]
    assert pickle.loads(pickled) == made


def test_file_order_of_words_changes_no_draw(toy):
    a, b = (
        ranges_of(toy, f"ring: {{place: {{choice: {{{words}}}}}}}").ring.place
        for words in ("heart: 1, aorta: 3", "aorta: 3, heart: 1")
    )
    stream = Stream(7, 2**40)
    assert a.draws(stream, "place", 50) == b.draws(stream, "place", 50)


def test_folder_is_where_the_file_lies(toy, tmp_path):
    path = Path(tmp_path) / "spec.yaml"
    path.write_text("\ufeff" + HEAD, encoding="utf-8")
    assert read_spec(path, (), toy).folder == str(tmp_path)
    assert read_spec(path, (), toy) == read_spec(HEAD, (), toy)


GOOD = f"{HEAD}ranges:\n  ring: {{stroke_px: {{uniform: [1, 2]}}, place: heart}}\n  size: 64\n"


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(GOOD)), st.integers(0, 6), st.text("{}[]:,-#&*!|>'\"%@`?~ \t\n a1.é\x00"))
def test_no_text_breaks_the_reader(toy, start, length, noise):
    text = GOOD[:start] + noise + GOOD[start + length :]
    try:
        made = read_spec(text + "\n", (), toy)
    except SpecError as error:
        assert str(error)  # noqa: PT017
    else:
        assert from_dict(spec_dict(made), recipe_file=toy) == made
