"""`voxelmill verify`: rows pass, rows can fail, and both are told in three forms."""

import json
import math
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from voxelmill.engine import cli, recipes
from voxelmill.engine.errors import SpecError
from voxelmill.engine.verify import closed_forms, golden, page, suite
from voxelmill.engine.verify.rows import Measured, Row, checked, run


def row(name="extra.row", measured=1.0, expected=1.0, tolerance=0.1, **more):
    return Row(
        name, "a <title>", "that & this", lambda: Measured(measured, expected, tolerance, **more)
    )


def broken():
    raise RuntimeError("no such thing")


@pytest.fixture(scope="module")
def report():
    return suite.verify(suite.rows())


def test_all_rows_pass(report):
    assert [o.row.name for o in report.failed] == []
    assert len(report.outcomes) == len({o.row.name for o in report.outcomes})
    for o in report.outcomes:
        assert o.row.title
        assert o.row.proves
        assert o.result.tolerance >= 0


def test_every_golden_number_is_a_row_and_says_all_its_parameters():
    numbers = golden.read()["numbers"]
    assert len(numbers) == len(golden.verify_rows()) > 20
    for number in numbers:
        assert golden.value(number).shape == (len(number["expected"]),)
        assert round(number["decimals"]) == number["decimals"] >= 0


def test_a_changed_golden_number_fails():
    number = golden.read()["numbers"][0]
    wrong = {**number, "expected": [v + 2e-4 for v in number["expected"]]}
    assert not run(golden._row(wrong)).passed
    assert run(golden._row(number)).passed


def test_a_wrong_closed_form_fails(monkeypatch):
    from voxelmill.kernels import signals

    right = signals.spoiled_echo
    monkeypatch.setattr(signals, "spoiled_echo", lambda *a, **k: right(*a, **k) * (1 + 1e-8))
    rows = {r.name: r for r in closed_forms.verify_rows()}
    assert not run(rows["bloch.spoiled_echo"]).passed
    assert run(rows["bloch.spin_echo"]).passed


def test_means_inside_labels_that_are_two_per_cent_off_fail():
    from voxelmill.engine.recipes import mr_verify

    x = np.indices((8, 40, 50))[2]
    rows = (x > 15).astype(np.uint8) + (x > 32)
    labels = np.array([[0, 0], [0.5, 0], [0.9, 0.05]])
    noise = np.random.Generator(np.random.PCG64(4)).standard_normal((3, *rows.shape))
    clean = labels[rows, 0] + labels[rows, 1] * noise[2]
    for factor, passed in ((1, True), (1.02, False), (0.98, False)):
        image = np.hypot(factor * clean + noise[0] / mr_verify.SNR, noise[1] / mr_verify.SNR)
        found = mr_verify._worst(image, rows, labels, 1.0, (3, 3, 3))
        assert found.passed == passed, found
    with pytest.raises(ValueError, match="no label has an inside"):
        mr_verify._worst(image, rows, labels, 1.0, (15, 3, 3))


@pytest.mark.parametrize("bad", [1.2, math.nan, math.inf])
def test_a_row_fails_beyond_its_tolerance_and_at_nan(bad):
    assert run(row()).passed
    assert not run(row(measured=bad)).passed


def test_figures_of_any_precision_are_told_in_json():
    report = suite.verify([row(measured=np.float32(1), expected=np.int64(1))])
    assert json.loads(json.dumps(page.to_json(report)))["rows"][0]["measured"] == 1


def test_a_row_that_raises_fails_and_the_others_run():
    report = suite.verify([Row("a.broken", "", "", broken), row()])
    assert [o.passed for o in report.outcomes] == [False, True]
    assert "RuntimeError: no such thing" in report.failed[0].error


def test_families_are_picked_and_wrong_names_refused():
    assert {r.name.split(".")[0] for r in suite.rows(["golden", "bloch.mprage"])} == {
        "golden", "bloch",
    }  # fmt: skip
    with pytest.raises(SpecError, match=r"did you mean 'bloch\.mprage'"):
        suite.rows(["bloch.mprge"])
    with pytest.raises(ValueError, match="two rows of verify are named"):
        checked([row(), row()])


def test_recipes_add_rows(monkeypatch):
    module = SimpleNamespace(verify_rows=lambda: [row("mine.first")])
    monkeypatch.setattr(recipes, "known", lambda: {"mine": "somewhere"})
    monkeypatch.setattr(recipes, "load", lambda name: module)
    assert "mine.first" in {r.name for r in suite.rows()}


def test_peers_that_are_not_there_are_named(monkeypatch):
    from voxelmill.engine.verify import peers

    monkeypatch.setattr(peers, "opened", lambda name: None)
    assert peers.verify_rows() == []
    assert len(suite.notes(True)) == len(peers.PACKAGES)
    assert suite.notes(False) == ()
    report = suite.verify([row()], notes=suite.notes(True))
    assert "pip install torchsim" in page.to_html(report)
    assert page.to_json(report)["notes"] == list(report.notes)


@pytest.mark.filterwarnings("ignore")  # of what they import
def test_peers_that_are_there_agree():
    from voxelmill.engine.verify import peers

    report = suite.verify(peers.verify_rows())  # none where none is installed
    assert [page._failure(o) for o in report.failed] == []


def test_the_page_and_the_json_tell_all():
    report = suite.verify(
        [row(note="n < 5"), row("extra.bad", 3.0), Row("x.broken", "", "", broken)]
    )
    said = json.loads(json.dumps(page.to_json(report), allow_nan=False))
    assert said["passed"] is False
    assert said["failed"] == ["extra.bad", "x.broken"]
    assert [r["passed"] for r in said["rows"]] == [True, False, False]
    assert said["rows"][2]["measured"] is None
    html = page.to_html(report)
    HTMLParser().feed(html)
    assert "a &lt;title&gt;" in html
    assert "n &lt; 5" in html
    assert html.count("FAIL") == 3
    assert "no such thing" in html


def called(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["voxelmill", "verify", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code or 0, *capsys.readouterr()


def test_the_command_prints_and_writes(monkeypatch, capsys, tmp_path):
    files = tmp_path / "v.json", tmp_path / "v.html"
    status, out, _ = called(
        monkeypatch, capsys, "golden.gibbs", "epg.t2", "--json", files[0], "--html", files[1]
    )
    assert status == 0
    assert out.count("PASS") == 2
    assert "2 rows pass" in out
    assert json.loads(files[0].read_text())["passed"] is True
    assert "golden.gibbs" in files[1].read_text()


def test_the_command_fails_with_status_1(monkeypatch, capsys):
    monkeypatch.setattr(suite, "rows", lambda *_: [row("extra.bad", 3.0)])
    status, out, _ = called(monkeypatch, capsys)
    assert status == 1
    assert "FAIL" in out
    assert "it would prove that that & this" in out
