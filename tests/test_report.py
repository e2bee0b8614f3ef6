"""The evaluation's report and the comparison of runs, on made-up results."""

import html.parser
import json
import math
import re

import numpy as np
import pytest
from helpers import flat

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.evaluation import command, compare, scores
from ganimation_jax.evaluation.headlines import headlines
from ganimation_jax.evaluation.report import write_report
from ganimation_jax.evaluation.results import Response, Result, Section, from_json, to_json
from ganimation_jax.evaluation.scores import HIGHER, LOWER, ONE, Score
from ganimation_jax.reports import charts

NAN = math.nan
LOW = ("AU14", "AU15", "AU17", "AU20", "AU23")
QUALITY = {u: "none" if u == "AU09" else "low" if u in LOW else "good" for u in ACTION_UNITS}
LEVELS = np.array([0, 0.25, 0.5, 0.75, 1])


def by_unit(group, name, units, values, quality, better=HIGHER):
    """As ``evaluation.means.by_unit``."""
    for baseline, grade in (("", "good"), ("low_confidence", "low")):
        if members := [u for u in units if quality[u] == grade]:
            value = float(np.mean([values[u] for u in members]))
            yield Score(group, name, value, 0.011, baseline=baseline, better=better)
    for unit in units:
        served = quality[unit] != "none"
        value, se = (values[unit], 0.023) if served else (NAN, NAN)
        yield Score(group, name, value, se, unit=unit, better=better)


def readings(group, units, quality, rng, strength):
    yield Score(group, "unread", 0.0117, better=LOWER)
    for name, middle, better in (
        ("mae", 0.25 - 0.15 * strength, LOWER),
        ("r", strength, HIGHER),
        ("icc", strength - 0.1, HIGHER),
    ):
        values = {u: float(np.clip(rng.normal(middle, 0.08), 0, 0.97)) for u in units}
        yield from by_unit(group, name, units, values, quality, better)


def make_result(name="run_a", units=ACTION_UNITS, strength=0.6, seed=0):
    """What the suite finds in a run of that strength."""
    rng = np.random.default_rng(seed)
    good = dict.fromkeys(units, "good")
    quality = {u: QUALITY[u] for u in units}
    sections, responses = [], []
    for judge, grades, lift in (("own", good, 0.25), ("mediapipe", quality, 0.0)):
        of_judge = {"judge": judge, "quality": grades}
        title = f"{judge.capitalize()} on edits"
        about = "How far the reading of an edit is what was requested. The mean is of good units."
        found = [*readings(f"{judge}_on_edits", units, grades, rng, strength + lift)]
        found.append(Score(f"{judge}_on_edits", "mae", 0.2345, baseline="no_edit", better=LOWER))
        edits = Section(f"{judge}_on_edits", title, about, found, kind="edits", **of_judge)
        slope = {u: float(rng.normal(strength + lift, 0.15)) for u in units}
        measured = np.array([np.clip(0.06 + slope[u] * LEVELS, 0, 1.2) for u in units])
        measured[[grades[u] == "none" for u in units]] = NAN
        error = np.where(np.isfinite(measured), 0.02 + 0.03 * LEVELS, NAN)
        responses.append(Response(judge, LEVELS, measured, error, grades))
        title = f"Controllability, {judge}"
        about = "Slope of the reading against the request, each unit alone."
        group = f"controllability_{judge}"
        found = [*by_unit(group, "slope", units, slope, grades, ONE), Score(group, "unread", 0.0)]
        sections += [edits, Section(group, title, about, found, kind="control", **of_judge)]
    own = [*readings("own_on_real", units, good, rng, 0.7)]
    sections.append(
        Section("own_on_real", "Real faces", "A detector.", own, kind="real", judge="own")
    )
    identity = [
        Score("identity", "distance", 0.31, 0.0121, better=LOWER),
        Score("identity", "distance", 0.42, 0.0121, baseline="same_person", better=LOWER),
        Score("identity", "distance", 0.79, 0.0121, baseline="other_person", better=LOWER),
        Score("identity", "verified", 0.981, 0.0121, better=HIGHER),
        Score("identity", "verified", 0.95, baseline="same_person", better=HIGHER),
        Score("identity", "pairs", 203, baseline="same_person"),
    ]
    sections.append(Section("identity", "Identity", "Distances of face descriptors.", identity))
    sets = [
        Score("", "KID-VGG16", 0.0123 / strength, 0.0011, better=LOWER),
        Score("", "Frechet-VGG16", 31.4, better=LOWER),
        Score("", "Frechet-VGG16", 12.2, baseline="bias"),
    ]
    sections.append(Section("vgg16", "Image quality", "Of sets.", sets, kind="sets"))
    pixels = [
        Score("reconstruction", "psnr", 27.81, 0.21, better=HIGHER),
        Score("reconstruction", "psnr", 24.1, baseline="no_edit", better=HIGHER),
        Score("reconstruction", "undefined", NAN),
    ]
    sections.append(Section("pixels", "Edits undone", "Of pairs.", pixels))
    attention = [Score("attention", n, v) for n, v in (("mean", 0.713), ("near_0", 0.05))]
    sections.append(Section("attention", "Attention mask", "Kept shares.", attention))
    why = "OpenFace is not here: give its FaceLandmarkImg with --openface"
    sections.append(Section("openface_on_edits", "OpenFace on edits", "", [], why))
    facts = {"run": name, "step": 30_000, "images": 3_840_000, "data": "lfw_openface/128"}
    facts |= {"examples": 1024, "date": "2026-11-24", "versions": "jax 0.10.2, flax 0.12.8"}
    facts |= {"device": "1 x NVIDIA H100"}
    config = {"method": "ganimation", "lr": 1e-4, "critic": {"width": 64}, "action_units": [*units]}
    return Result(facts, config, tuple(units), sections, responses)


def make_history(count=600):
    rng = np.random.default_rng(3)
    for step in range(1, count + 1):
        noise, t = rng.normal(0, 0.03), step / count
        record = {"images": step * 6400, "critic/real": -2 * t - 1 + 5 * noise}
        record |= {"critic/edited": 0.5 * t, "critic/gradient_norm": 1 + noise}
        record |= {"critic/aus": 0.6 * np.exp(-5 * t) + 0.1 + noise}
        record |= {
            "generator/aus": 0.9 * np.exp(-3 * t) + 0.1 + noise,
            "generator/cycle": 0.1 + noise,
        }
        record |= {"generator/attention_mean": 0.5 + 0.3 * t}
        if step % 60 == 0:
            record |= {"edit_response/r": 0.8 * t + noise, "own_on_real/r": 0.7 * t**0.5}
            record |= {"edit_response/pixels": 8 * t + 10 * noise}
        yield record


class Reader(html.parser.HTMLParser):
    """Checks that tags nest; collects text and attributes."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.tags, self.links = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Folder of a run, and its page."""
    folder = tmp_path_factory.mktemp("run")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    page = write_report(
        folder / "report", make_result(), {"Edits <1>": pixels}, list(make_history())
    )
    assert page == folder / "report" / "index.html"
    return folder, page.read_text()


# The value


def test_results_survive_json():
    result = make_result()
    again = from_json(to_json(result))
    assert again.action_units == result.action_units
    assert (again.facts, again.config) == (result.facts, result.config)
    assert len(again.sections) == len(result.sections)
    for one, other in zip(again.sections, result.sections, strict=True):
        # NaN is not itself: as texts.
        assert repr(one) == repr(other)
    for got, want in zip(again.responses, result.responses, strict=True):
        assert (got.judge, got.quality) == (want.judge, want.quality)
        for name in ("levels", "measured", "error"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    assert "NaN" not in to_json(result)


def test_values_of_numpy_are_written_as_numbers():
    result = make_result()._replace(facts={"step": np.int64(3), "speed": np.float32(0.5)})
    assert from_json(to_json(result)).facts == {"step": 3, "speed": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 1}, "schema version 1.*run --mode=eval again"),
        ({"extra": 1}, "damaged report.*extra"),
        ({"sections": [{"name": "x"}]}, "damaged report.*scores"),
        ({"sections": 3}, "damaged report"),
        ({"action_units": ["AU01"]}, r"not \(1, 5\)"),
    ],
)
def test_a_report_that_is_not_one_is_refused(change, message):
    record = json.loads(to_json(make_result())) | change
    with pytest.raises(ValueError, match=message):
        from_json(json.dumps(record))


@pytest.mark.parametrize("text", ["{", "[]", '{"facts": {}}'])
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match="Expecting|not a report"):
        from_json(text)


def test_results_that_do_not_fit_together_are_not_written():
    result = make_result()
    both = result.sections[0]._replace(missing="because")
    with pytest.raises(ValueError, match="own_on_edits has scores, and a reason"):
        to_json(result._replace(sections=[both]))
    with pytest.raises(ValueError, match="action units by levels"):
        to_json(result._replace(action_units=("AU01",)))
    with pytest.raises(ValueError, match="JSON"):
        to_json(result._replace(facts={"speed": math.inf}))


# The page


def test_the_page_is_html_that_needs_no_network(report):
    _, text = report
    page = Reader(text)
    assert page.tags.count("svg") > len(ACTION_UNITS)
    assert page.links
    assert all(link.startswith("data:image/") for link in page.links)
    assert not re.search(r"https?:|@import|url\(|<script", text)


def test_the_page_tells_every_unit_and_every_score(report):
    folder, text = report
    words = "\n".join(Reader(text).text)
    result = from_json((folder / "report" / "report.json").read_text())
    for unit in ACTION_UNITS:
        assert unit in words
    assert "zygomaticus" not in words  # actions, not muscles
    assert "lip corner puller" in words
    for section in result.sections:
        assert section.title in words
        for score in section.scores:
            assert score.key in words
    assert "give its FaceLandmarkImg with --openface" in words
    for fact in ("lfw_openface/128", "3,840,000", "1 x NVIDIA H100", "ganimation"):
        assert fact in words


def cells_of(text, unit):
    row = re.search(rf"<tr><td>{unit}</td>.*?</tr>", text).group()
    return re.sub("<[^>]*>", "|", row)


def test_what_a_judge_cannot_read_is_marked_and_not_averaged(report):
    _, text = report
    assert cells_of(text, "AU09").count("not judged") == 2  # its readings, its slope
    assert cells_of(text, "AU14").count("†") == 4
    assert "†" not in cells_of(text, "AU12")
    found = make_result().sections
    edits = next(flat(one.scores) for one in found if one.name == "mediapipe_on_edits")
    mean = re.search(r"mean of units judged well.*?</tr>", text).group()
    assert f"{edits['mediapipe_on_edits/r']:.2f}&nbsp;" in mean  # the suite's mean of good ones
    assert mean.count("(11)") == 4
    assert mean.count("(17)") == 7


def test_the_headlines_stand_beside_their_baselines():
    found = {one.score.key: one for one in headlines(make_result())}
    assert found["identity/distance"].baselines["other_person"].value == 0.79
    assert found["identity/distance"].reading.startswith("Closer to its source")
    assert found["reconstruction/psnr"].baselines["no_edit"].value == 24.1
    assert "Nearer to" in found["mediapipe_on_edits/mae"].reading
    assert found["controllability_mediapipe/slope"].score.se == 0.011
    assert "KID-VGG16" in found
    worse = [
        Score("identity", "distance", value, baseline=baseline)
        for value, baseline in ((0.9, ""), (0.4, "same_person"), (0.8, "other_person"))
    ]
    bad = make_result()._replace(sections=[Section("identity", "", "", worse)])
    assert "identity is lost" in next(headlines(bad)).reading


def test_hostile_text_is_escaped(tmp_path):
    evil = "<script>alert('1')</script>\"&"
    result = make_result()
    result = result._replace(
        facts={"run": evil, evil: evil},
        config={evil: evil},
        sections=[
            Section(evil, evil, evil, [Score(evil, evil, 1.0), Score(evil, evil, 0.5, unit="AU12")])
        ],
        responses=[result.responses[0]._replace(judge=evil)],
    )
    pixels = np.zeros((4, 4, 3), np.uint8)
    for page in (
        write_report(tmp_path / "a" / "report", result, {evil: pixels}, [{"images": 1, evil: 2}]),
        write_report(tmp_path / "b" / "report", result._replace(sections=[]), {}, []),
    ):
        reader = Reader(page.read_text())
        assert "script" not in reader.tags
    runs = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert compare.main([*runs, "--out", str(tmp_path)]) == 0
    assert "script" not in Reader((tmp_path / "compare.html").read_text()).tags


def test_a_result_of_nothing_is_a_page(tmp_path):
    page = write_report(tmp_path, Result({}, {}, ("AU12",), [], []), {}, [{"images": 1}])
    assert "Evaluation of" in "".join(Reader(page.read_text()).text)


def test_a_failed_report_leaves_the_last_one(tmp_path):
    page = write_report(tmp_path, make_result(), {}, [])
    before = page.read_text()
    with pytest.raises(ValueError, match="JSON"):
        write_report(tmp_path, make_result()._replace(facts={"x": math.inf}), {}, [])
    assert page.read_text() == before
    assert sorted(p.name for p in page.parent.iterdir()) == ["index.html", "report.json"]


# Charts


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (3, 3, [1, 2, 3, 4, 5]),
        (-0.2, 1e4, [-2500, 0, 2500, 5000, 7500, 10000]),
        (0, 0, [-0.001, -0.0005, 0, 0.0005, 0.001]),
    ],
)
def test_ticks_are_round_and_enclose(low, high, want):
    assert charts.ticks(low, high, about=4) == want


def test_lines_are_where_they_should_be_and_stop_at_gaps():
    line = charts.Line(np.array([0, 0.5, 0.75, 1]), np.array([0, NAN, 0.5, 1]))
    drawn = charts.chart([line], (244, 126), (0, 1), (0, 1))
    assert 'd="M34.0 108.0M184.0 58.0L234.0 8.0"' in drawn  # 200 x 100 pixels of area


def test_long_curves_are_thinned_to_means():
    x = np.arange(3000.0)
    drawn = charts.chart([charts.Line(x, x % 2)], (200, 100))
    path = max(re.findall(r' d="([^"]*)"', drawn), key=len)
    heights = {float(point.split()[1]) for point in re.findall(r"[ML]([^ML]*)", path)}
    assert path.count("L") == 299
    assert len(heights) == 1  # ten records each, half 0 and half 1


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
