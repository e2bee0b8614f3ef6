"""What prepare writes about a dataset: survey, page, card."""

import html.parser

import numpy as np
import pytest
from prepare_folders import (
    intensities,
    make_input,
    prepare,
    write_csv,
)

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.records import Face
from ganimation_jax.data.table import FaceTable, Row, write_table
from ganimation_jax.prepare.survey import Survey

# What is shown


def faces_like(count, folder):
    rng = np.random.default_rng(1)
    aus = rng.uniform(0, 5, (count, 4)) * (rng.random((count, 4)) < 0.5)
    aus[:, 3] = aus[:, 2] / 2
    rows = []
    for number in range(count):
        face = Face(
            id=f"f{number}",
            split="test" if number % 4 == 0 else "train",
            person=f"p{number % 3}",
            source=f"a, {number}.jpg",
            aus=tuple(aus[number].tolist()),
            transform=((0.1 + number, 0.2, 0.3), (-0.2, 0.1, 1 / 3)),
            jpeg=folder / f"crops/f{number}.jpg",
        )
        rows.append(Row(face, float("nan"), 100.0 + number, 3.0, 9.5))
    return rows, aus


def test_survey_counts_as_numpy_does(tmp_path):
    rows, aus = faces_like(200, tmp_path)
    survey = Survey(("AU01", "AU02", "AU12", "AU45"))
    for row in rows:
        survey.add(row)
    np.testing.assert_allclose(survey.mean, aus.mean(axis=0))
    np.testing.assert_allclose(survey.deviation, aus.std(axis=0))
    np.testing.assert_allclose(survey.active, (aus >= 1).mean(axis=0))
    np.testing.assert_allclose(survey.correlation, np.corrcoef(aus.T), atol=1e-9)
    for unit in range(4):
        want, _ = np.histogram(aus[:, unit], bins=25, range=(0, 5))
        np.testing.assert_array_equal(survey.histogram[unit], want)
        best = np.sort(aus[:, unit])[::-1][:10]
        np.testing.assert_array_equal([one.aus[unit] for one in survey.high(unit)], best)
        assert [one.aus[unit] for one in survey.low(unit)] == [0.0] * 10
    assert dict(survey.splits) == {"test": 50, "train": 150}
    assert dict(survey.sides) == {64: 28, 128: 128, 256: 44}
    assert len({one.id for one in survey.sheet}) == 60


def test_table_comes_back_as_it_went(tmp_path):
    rows, _ = faces_like(9, tmp_path)
    write_table(tmp_path, rows, ("AU01", "AU02", "AU12", "AU45"))
    table = FaceTable(tmp_path)
    assert (len(table), table.action_units) == (9, ("AU01", "AU02", "AU12", "AU45"))
    for _ in range(2):  # read anew each time
        for face, row in zip(table, rows, strict=True):
            assert face._replace(transform=0) == row.face._replace(transform=0)
            np.testing.assert_array_equal(face.transform, row.face.transform)
    (tmp_path / "table.csv").write_text("id,split\n")
    with pytest.raises(ValueError, match="no column file person transform"):
        FaceTable(tmp_path)


class Page(html.parser.HTMLParser):
    """Counts tags and sees that each is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.links, self.text = {}, [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1

    def handle_endtag(self, tag):
        last = self.open.pop()
        assert tag == last, (tag, self.getpos())

    def handle_data(self, data):
        self.text.append(data)


def test_report_and_card_show_what_there_is(tmp_path):
    make_input(tmp_path, count=25)
    (tmp_path / "imgs/broken.jpg").write_bytes(b"")
    write_csv(tmp_path / "csv/broken.csv")
    words = ("--licence", "CC <0>", "--origin", "Us & them")
    assert prepare(tmp_path, *words) == 0
    text = (tmp_path / "out/report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert "http" not in text
    assert page.tags["img"] == 25 + 17 * 20  # the sheet; ten at either end of each action unit
    assert page.tags["svg"] == 17 + 1
    shown = " ".join(page.text)
    assert all(code in shown for code in ACTION_UNITS)
    assert "CC <0>" in shown
    assert "Us & them" in shown
    assert "unreadable picture" in shown

    card = (tmp_path / "out/README.md").read_text()
    for line in ("| licence of the pictures | CC <0> |", "| annotator | OpenFace |"):
        assert line in card
    aus = np.array([intensities(number) for number in range(25)])
    mean, deviation = aus[:, 8].mean(), aus[:, 8].std()
    assert f"| AU12 | lip corner puller | {mean:.2f} | {deviation:.2f} |" in card
    assert "| unreadable picture | 1 |" in card
