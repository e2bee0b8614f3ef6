"""A browser, a server and a tiny model for tests of the web page."""

import base64
import contextlib
import importlib.util
import io
import shutil
import threading

import numpy as np
import pytest
from helpers import mediapipe_missing, noise_run
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.targets import expression
from ganimation_jax.synthetic.drawn_face import render
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.web import app, folder

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
)
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)
DESKTOP = {"viewport": {"width": 1280, "height": 860}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def missing():
    """Why the page cannot be tried here; empty if it can."""
    for package in ("starlette", "uvicorn", "playwright", "av", "axe_playwright_python"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed (extras webui and test)"
    if mediapipe_missing():
        return mediapipe_missing()
    return "" if CHROMIUM else f"none of {', '.join(PROGRAMS)} is installed"


def face(person=0, smile=0.0, side=256):
    """A face drawn by the library, which MediaPipe takes for one: uint8."""
    aus = np.zeros(len(ACTION_UNITS), np.float32)
    aus[ACTION_UNITS.index("AU12")] = smile
    drawn = Image.fromarray(render(SyntheticFaces(9, 256).identity(person), aus, 256))
    return drawn.resize((side, side))


def two_faces():
    several = Image.new("RGB", (512, 256))
    for place in (0, 1):
        several.paste(face(place, side=256 - 30 * place), (256 * place, 0))
    return several


@pytest.fixture(scope="module")
def page_run(tmp_path_factory):
    return noise_run(tmp_path_factory.mktemp("runs") / "tiny & <b>")


class Watched(Animator):
    """Counts how many edits are made at a time."""

    edits = most = 0

    def with_faces(self, *args):
        if threading.current_thread() is threading.main_thread():  # the tests themselves
            return super().with_faces(*args)
        self.edits += 1
        self.most = max(self.most, self.edits)
        try:
            return super().with_faces(*args)
        finally:
            self.edits -= 1


@pytest.fixture(scope="module")
def page_animator(page_run):
    with Watched.load(page_run) as animator:
        yield animator


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def page_url(page_animator, server_folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "server_folder", lambda: folder.server_folder(server_folder))
        # The second model is the same one: its edits can be compared.
        with app.serving([page_animator, page_animator]) as url:
            yield url
    assert list(server_folder.iterdir()) == []


def root_of(parent):
    """The server's folder."""
    (root,) = parent.iterdir()
    return root


@contextlib.contextmanager
def visit(browser, url, server="", **options):
    """An open page. All that it asks for is of the server, and nothing goes wrong in it."""
    context = browser.new_context(**options or DESKTOP)
    page = context.new_page()
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        # A refusal's status is what tests ask for.
        lambda line: (
            wrong.append(line.text) if line.type == "error" and "422" not in line.text else 0
        ),
    )
    page.goto(url)
    page.wait_for_selector("body[data-ready]")
    yield page
    context.close()
    assert not [one for one in asked if not one.startswith((server or url, "data:", "blob:"))]
    assert wrong == []


@pytest.fixture(scope="module")
def page(browser, page_url):
    """A page with a photo."""
    with visit(browser, page_url) as page:
        drop(page, face())
        page.locator("#after[data-edited=false]").wait_for()
        yield page


@pytest.fixture
def fresh(request):
    """Each test of the shared page begins with the photo's own expression."""
    if "page" in request.fixturenames:
        shared = request.getfixturevalue("page")
        shared.locator("#tab-photo").click()
        shared.get_by_label("Whole face").check()
        shared.locator("#reset").click()


def given(image, name="a.png"):
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        image = buffer.getvalue()
    return {"name": name, "mimeType": "image/png", "buffer": image}


def drop(page, image, into="#photo", name="a.png"):
    page.set_input_files(into, given(image, name))


def picture(page, name="#after"):
    """What the browser shows, uint8."""
    page.locator(f"{name}[src^=blob]").wait_for(state="attached")
    data = page.evaluate(
        """async (name) => {
          const image = document.querySelector(name), canvas = document.createElement("canvas");
          for (let address; address !== image.src;) {  // a newer edit may replace it meanwhile
            address = image.src;
            await image.decode().catch(() => {});
          }
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          canvas.getContext("2d").drawImage(image, 0, 0);
          return canvas.toDataURL("image/png").split(",")[1];
        }""",
        name,
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def shows(page, want, within=3, name="#after"):
    """Wait until the page shows this picture, as JPEG does."""
    for _ in range(600):  # ten times what a quiet machine needs at most
        shown = picture(page, name)
        if shown.shape == want.shape and difference(shown, want) < within:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the picture is off by {difference(shown, want):.1f}")


def difference(one, other):
    return np.abs(one.astype(float) - other).mean()


def own(animator, image=None):
    return animator.find(np.asarray(image or face()))[0]


def result(animator, left, right=None, image=None):
    """The photo by a second route: a recipe's values given to the model."""
    one, units = own(animator, image), animator.action_units
    halves = [recipe.values(one.aus, units) for recipe in (left, right or left)]
    return animator.with_faces(np.asarray(image or face()), [one], np.array([halves]))


def full(name):
    return expression(name, ACTION_UNITS, 1.0)


def choose(page, name):
    page.locator(f"#expressions [data-name={name}]").click()


def move(page, unit, value):
    page.evaluate("document.getElementById('muscles').open = true")
    page.locator(f"#unit-{unit}").fill(str(value))


def said(page, text, role="alert"):
    page.locator(f"[role={role}]").filter(has_text=text).first.wait_for()
