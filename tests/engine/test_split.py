"""What the parts of a split get of the inputs at hand."""

from types import SimpleNamespace

import mills

from voxelmill.engine.plan import open_plan
from voxelmill.engine.split import Split, empty_parts, portions


def test_portions_count_subjects_and_inputs_once():
    subjects = [f"s{k // 3}" for k in range(60)]
    split = Split(val=0.3, test=0.2)
    found = {p.part: p for p in portions(split, subjects)}
    assert sum(p.inputs for p in found.values()) == 60
    for name, p in found.items():
        of_part = {s for s in subjects if split.part(s) == name}
        assert (p.subjects, p.inputs) == (len(of_part), 3 * len(of_part))
    assert abs(sum(p.share for p in found.values()) - 1) < 1e-12


def test_parts_without_a_subject_are_told():
    one = SimpleNamespace(subjects=("a", "a"))
    assert empty_parts(Split(), None) == empty_parts(Split(), one) == []
    told = empty_parts(Split(val=0.3, test=0.3), one)
    assert len(told) == 2  # one subject is in one part
    assert all("none of the 1 subjects" in line for line in told)


def test_the_example_fills_every_part_with_the_films_that_ship():
    plan = open_plan(mills.FILMS)
    found = {p.part: p.subjects for p in portions(plan.spec.split, plan.inputs.subjects)}
    assert found == {"train": 8, "val": 2, "test": 1}
