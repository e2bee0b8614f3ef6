"""Reports of several runs side by side: which is better, and what cannot be compared."""

import re

import pytest
from results import NAN, Reader, make_result

from ganimation_jax.evaluation import command, compare, scores
from ganimation_jax.evaluation.report import write_report
from ganimation_jax.evaluation.scores import HIGHER, LOWER, ONE, Score

# Comparison


def scored(better, *pairs):
    return [pair and Score("", "", *pair, better=better) for pair in pairs]


@pytest.mark.parametrize(
    ("better", "pairs", "want"),
    [
        (HIGHER, [(0.5, 0.01), (0.6, 0.01)], ["", "*"]),
        (LOWER, [(0.5, 0.01), (0.6, 0.01)], ["*", ""]),
        (LOWER, [(0.02, 0.001), (0.01, 0.001), None], ["", "*", ""]),
        (HIGHER, [(0.5, 0.03), (0.56, 0.04)], ["=", "="]),  # 0.06 is within 2 x 0.05
        (HIGHER, [(0.5, 0.03), (0.61, 0.04)], ["", "*"]),
        (HIGHER, [(0.1, 0.03), (0.5, 0.03), (0.56, 0.04)], ["", "=", "="]),
        (HIGHER, [(0.5, NAN), (0.6, 0.01)], ["", "?"]),
        (HIGHER, [(0.5, NAN), (0.5, NAN)], ["=", "="]),
        (HIGHER, [(NAN, NAN), (0.5, 0.1)], ["", ""]),
        (ONE, [(0.9, 0.01), (1.3, 0.01)], ["*", ""]),
        ("", [(0.3, 0.01), (0.5, 0.01)], ["", ""]),
    ],
)
def test_verdicts(better, pairs, want):
    assert scores.verdicts(scored(better, *pairs)) == want


@pytest.fixture
def runs(tmp_path):
    """Writes results as runs; gives the folders."""

    def write(*results):
        folders = [tmp_path / f"run{place}" for place in range(len(results))]
        for folder, result in zip(folders, results, strict=True):
            write_report(folder / "report", result, {}, [])
        return [str(folder) for folder in folders] + ["--out", str(tmp_path)]

    return write


def row_of(text, name):
    return next(line.split() for line in text.splitlines() if line.startswith(f"{name} "))


def test_a_comparison_marks_the_better_run(runs, tmp_path, capsys):
    assert compare.main(runs(make_result(), make_result("b", strength=0.3))) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert row_of(out, "mediapipe_on_edits/r")[4] == "*"
    assert row_of(out, "identity/distance").count("=") == 2
    assert "run0" in out.splitlines()[0]
    text = (tmp_path / "compare.html").read_text()
    page = Reader(text)
    assert page.links == ["run0/report/index.html", "run1/report/index.html"]
    assert "not judged" in text
    assert not re.search(r"https?:|url\(|<script", text)


def test_nothing_is_better_on_other_data(runs, capsys):
    other = make_result(strength=0.3)
    other = other._replace(facts=other.facts | {"data": "celeba"})
    assert compare.main(runs(make_result(), other)) == 0
    out, err = capsys.readouterr()
    assert "different data (run0: lfw_openface/128, run1: celeba): no score is called" in err
    assert "*" not in out.replace(compare.LEGEND, "")


def test_frechet_distances_of_other_numbers_are_not_compared(runs, capsys):
    other = make_result()
    other = other._replace(facts=other.facts | {"examples": 99})
    assert compare.main(runs(make_result(), other)) == 0
    out, err = capsys.readouterr()
    assert "different examples" in err
    assert "=" not in row_of(out, "Frechet-VGG16")
    assert "=" in row_of(out, "KID-VGG16")


def test_averages_over_other_units_are_not_compared(runs, tmp_path, capsys):
    assert compare.main(runs(make_result(), make_result(units=("AU12", "AU01"), strength=0.3))) == 0
    out, err = capsys.readouterr()
    assert "run1: AU12 AU01" in err
    assert "*" not in row_of(out, "mediapipe_on_edits/r")
    assert "*" in row_of(out, "KID-VGG16")
    text = (tmp_path / "compare.html").read_text()
    assert "AU12" in text
    assert "<td>AU25" not in text


def test_a_judge_that_one_run_lacks_is_named(runs, capsys):
    other = make_result()
    why = "MediaPipe: pip install 'ganimation-jax[annotate]'"
    sections = [
        one._replace(scores=[], missing=why) if "mediapipe" in one.name else one
        for one in other.sections
    ]
    other = other._replace(sections=sections, responses=other.responses[:1])
    assert compare.main(runs(make_result(), other)) == 0
    out, err = capsys.readouterr()
    assert f"run1 lacks what another run has: controllability_mediapipe ({why})" in err
    assert "mediapipe" not in out


def test_bad_input_is_one_line_and_exit_code_2(runs, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    first, second, *out = runs(make_result(), make_result())
    assert compare.main([first, str(tmp_path / "new"), *out]) == 2
    assert "was not evaluated" in (err := capsys.readouterr().err)
    assert "ganimation eval" in err
    assert compare.main([first, *out]) == compare.main([first, first, *out]) == 2
    assert "two or more different runs" in capsys.readouterr().err
    (tmp_path / "run1" / "report" / "report.json").write_text('{"schema": 7}')
    assert compare.main([first, second, *out]) == 2
    assert re.fullmatch(r"error: .*report.json: a report of schema.*\n", capsys.readouterr().err)
    with pytest.raises(SystemExit) as stop:
        compare.main([])
    assert stop.value.code == 2


# Whose report


def evaluated(folder, name):
    return write_report(folder, make_result(name), {}, [])


def test_the_report_of_another_model_does_not_replace_that_of_a_run(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints" / "16").mkdir(parents=True)
    assert command.suffix_for(run, "", "run") == ""
    assert command.suffix_for(run, str(run / "."), "run") == ""
    assert command.suffix_for(run, "lfw-64", "lfw-64") == "_lfw-64"
    fresh = tmp_path / "fresh"
    assert command.suffix_for(fresh, "lfw-64", "lfw-64") == ""
    evaluated(fresh / "report", "lfw-64")
    assert command.suffix_for(fresh, "lfw-64", "lfw-64") == ""  # evaluated again
    assert command.suffix_for(fresh, "x.safetensors", "x.safetensors") == "_x.safetensors"


def test_reports_of_models_are_compared_with_those_of_runs(tmp_path, capsys):
    evaluated(tmp_path / "run" / "report", "run")
    evaluated(tmp_path / "run" / "report_lfw-64", "lfw-64")
    folders = [str(tmp_path / "run"), str(tmp_path / "run" / "report_lfw-64")]
    assert compare.main([*folders, "--out", str(tmp_path)]) == 0
    assert Reader((tmp_path / "compare.html").read_text()).links == [
        "run/report/index.html",
        "run/report_lfw-64/index.html",
    ]
