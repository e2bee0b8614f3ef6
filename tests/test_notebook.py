"""What Jupyter shows: a result, a widget, and the notebook in docs."""

import base64
import io
import re
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import ROOT, mediapipe_missing
from PIL import Image

from ganimation_jax.animation.editing import Explanation
from ganimation_jax.animation.finding import Face
from ganimation_jax.animation.notebook import OWN, widget
from ganimation_jax.animation.targets import PRESETS, resolve
from ganimation_jax.types import Condition

UNITS = ("AU04", "AU06", "AU12")
OWN_AUS = np.array([0.5, 0.123, 0.0], np.float32)
NOTEBOOK = ROOT / "docs/notebook.ipynb"


def pictures_of(html):
    for data in re.findall(r"data:image/jpeg;base64,([^\"]+)", html):
        yield np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def explanation(aus, own=OWN_AUS):
    photo = np.full((40, 60, 3), 100, np.uint8)
    kept = np.ones((40, 60), np.float32)
    kept[10:30, 10:30] = 0.25
    crop = np.zeros((8, 8, 3), np.uint8)
    return Explanation(photo, photo + 50, kept, crop, crop, own, np.asarray(aus), UNITS)


def test_a_result_shows_both_photos_attention_and_units():
    html = explanation([0.1, 0.123, 0.8])._repr_html_()
    before, after, kept = pictures_of(html)
    assert before.shape == (40, 60, 3)
    assert abs(before - 100).max() <= 2
    assert abs(after - 150).max() <= 2
    assert (abs(kept[15, 15] - 64).max() <= 4, abs(kept[35, 50] - 255).max() <= 4) == (True, True)
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>", html)
    assert rows == [
        ("AU12", "lip corner puller", "0.00", "0.80"),
        ("AU04", "brow lowerer", "0.50", "0.10"),
    ]
    assert "No action unit changes." in explanation(OWN_AUS)._repr_html_()
    # What was not measured is not said.
    html = explanation([0, 0, 0.3], np.full(3, np.nan, np.float32))._repr_html_()
    assert "<td>-</td><td>0.30</td>" in html


class Brightening:
    """An animator whose edits add 100 times AU12 to a photo."""

    action_units = UNITS
    model = SimpleNamespace(conditions=tuple(map(Condition, UNITS)))

    def find(self, photo):
        self.face = Face(photo[:8, :8], np.eye(2, 3), (0, 0, 8, 8), OWN_AUS)
        return [self.face]

    def targets(self, faces, wanted):
        return np.array([[resolve(x, f.aus, UNITS) for f in faces] for x in wanted])

    def with_faces(self, image, faces, targets):
        self.asked = targets[0]
        return (image + np.round(100 * targets[0][2])).astype(np.uint8)


def test_sliders_edit_the_photo():
    pytest.importorskip("ipywidgets")
    animator = Brightening()
    shown, presets, grid = widget(animator, np.full((600, 1200, 3), 100, np.uint8)).children
    sliders = {slider.description: slider for slider in grid.children}

    def level():
        picture = np.asarray(Image.open(io.BytesIO(shown.value)))
        assert picture.shape == (256, 512, 3)
        return picture.mean()

    assert [slider.value for slider in sliders.values()] == [0.5, 0.12, 0.0]
    assert level() == pytest.approx(100, abs=1)
    sliders["AU12"].value = 0.5
    assert level() == pytest.approx(150, abs=1)
    # A slider that was not moved is the face's own intensity, not a rounded one.
    np.testing.assert_allclose(animator.asked, [0.5, 0.123, 0.5], atol=1e-7)
    presets.value = "happy"
    want = [PRESETS["happy"].get(unit, 0.0) for unit in UNITS]
    np.testing.assert_allclose(animator.asked, want, atol=0.006)
    assert sliders["AU12"].value == pytest.approx(want[2], abs=0.006)
    presets.value = OWN
    np.testing.assert_allclose(animator.asked, OWN_AUS)


@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("nbclient", "ipykernel", "ipywidgets")),
    reason="nbclient, ipykernel or ipywidgets is not installed",
)
@pytest.mark.skipif(bool(mediapipe_missing()), reason=mediapipe_missing() or "-")
def test_the_notebook_runs(monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    kept = [cell.get("outputs") for cell in notebook.cells]
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
    for cell, before in zip(notebook.cells, kept, strict=True):
        kinds = [sorted(output.get("data", {})) for output in cell.get("outputs", [])]
        assert kinds == [sorted(output.get("data", {})) for output in before or []]


def test_the_notebook_is_small_and_says_nothing_of_the_machine_that_ran_it():
    text = NOTEBOOK.read_text()
    assert len(text) < 600_000
    assert text.count("data:image/jpeg;base64") >= 6
    assert not re.search(r"/(home|root|work|tmp|usr)/|Traceback", text)
