"""The evaluation's report and the comparison of runs, on made-up results."""

import json
import math
import re

import numpy as np
import pytest
from helpers import flat
from results import Reader, make_result

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.evaluation import compare
from ganimation_jax.evaluation.headlines import headlines
from ganimation_jax.evaluation.report import write_report
from ganimation_jax.evaluation.results import Result, Section, from_json, to_json
from ganimation_jax.evaluation.scores import Score


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
