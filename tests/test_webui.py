"""The web page, as people use it: a browser, a server, a tiny model."""

import base64
import contextlib
import importlib.util
import io
import shutil
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from helpers import mediapipe_missing, noise_run
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.provenance import NOTICE, read_provenance
from ganimation_jax.animation.recipes import Recipe, from_json
from ganimation_jax.animation.targets import expression
from ganimation_jax.synthetic.drawn_face import render
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.web import app, folder
from ganimation_jax.web.desk import PORTRAIT

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


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]


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
def run(tmp_path_factory):
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
def animator(run):
    with Watched.load(run) as animator:
        yield animator


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def url(animator, parent):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "server_folder", lambda: folder.server_folder(parent))
        # The second model is the same one: its edits can be compared.
        with app.serving([animator, animator]) as url:
            yield url
    assert list(parent.iterdir()) == []


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
def page(browser, url):
    """A page with a photo."""
    with visit(browser, url) as page:
        drop(page, face())
        page.locator("#after[data-edited=false]").wait_for()
        yield page


@pytest.fixture(autouse=True)
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


# The page


def test_it_opens_with_a_portrait_that_is_edited(browser, url, animator):
    with visit(browser, url) as page:
        assert page.locator("#after").get_attribute("data-edited") == "true"
        assert "edited: angry" in page.locator("#after").get_attribute("alt")
        before, after = picture(page, "#before"), picture(page)
        portrait = np.asarray(Image.open(PORTRAIT).convert("RGB"))
        assert difference(before, portrait) < 3
        assert difference(before, after) > 1
        assert page.locator("#before").is_hidden()  # the whole face is the edit's
        page.keyboard.down("o")
        assert page.locator("#before").is_visible()
        page.keyboard.up("o")
        assert page.locator("#before").is_hidden()
        assert "consent" in page.locator("footer").inner_text()
        page.locator("#about summary").click()
        about = page.locator("#facts").inner_text()
        assert "tiny & <b>" in about
        assert "32 x 32" in about


def test_expressions_have_a_strength(page, animator):
    choose(page, "surprised")
    shows(page, result(animator, Recipe(full("surprised"), 1.0)))
    page.locator("#strength").fill("30")
    shows(page, result(animator, Recipe(full("surprised"), 0.3)))
    page.locator("#strength").fill("150")
    shows(page, result(animator, Recipe(full("surprised"), 1.5)))
    page.locator("#strength").fill("0")
    shows(page, np.asarray(face()))


def test_muscles_start_where_the_face_is_and_add_to_an_expression(page, animator):
    one = own(animator)
    page.evaluate("document.getElementById('muscles').open = true")
    values = [float(page.locator(f"#unit-{unit}").input_value()) for unit in ACTION_UNITS]
    np.testing.assert_allclose(values, one.aus, atol=0.011)
    assert 0 < sum(values) < len(ACTION_UNITS)
    for value in (0.1, 0.9, 0.3, 0.7):
        move(page, "AU12", value)
    by = 0.7 - float(one.aus[ACTION_UNITS.index("AU12")])
    shows(page, result(animator, Recipe(moved={"AU12": by})))
    choose(page, "sad")
    sad = Recipe(full("sad"), 1.0)
    shows(page, result(animator, sad))
    shown = float(sad.values(one.aus, ACTION_UNITS)[ACTION_UNITS.index("AU12")])
    move(page, "AU12", 0.9)
    shows(page, result(animator, sad._replace(moved={"AU12": 0.9 - shown})))
    tooltip = page.locator(".slider", has=page.locator("#unit-AU12")).get_attribute("title")
    assert tooltip == "AU12, lip corner puller: zygomaticus major"


def test_each_change_can_be_undone_and_done_again(page, animator):
    sad, angry = (result(animator, Recipe(full(name), 1.0)) for name in ("sad", "angry"))
    choose(page, "sad")
    choose(page, "angry")
    page.locator("#undo").click()
    shows(page, sad)
    page.keyboard.press("Control+z")
    shows(page, np.asarray(face()))
    page.keyboard.press("Control+Shift+z")
    shows(page, sad)
    page.locator("#redo").click()
    shows(page, angry)
    assert page.locator("#redo").is_disabled()
    page.locator("#reset").click()
    shows(page, np.asarray(face()))
    page.locator("#undo").click()
    shows(page, angry)


def test_the_halves_of_a_face_are_edited_apart(page, animator):
    page.get_by_label("Left half").check()
    choose(page, "surprised")
    want = result(animator, Recipe(full("surprised"), 1.0), Recipe())
    shows(page, want)
    whole = result(animator, Recipe(full("surprised"), 1.0))
    transform = own(animator).transform
    middle = round((0.4985 * 32 - transform[0, 2]) / transform[0, 0])
    quarter = round(12 / transform[0, 0])
    # Beyond the blend the left is the whole edit, and the right the photo itself.
    photo = np.asarray(face())
    np.testing.assert_array_equal(want[:, : middle - quarter], whole[:, : middle - quarter])
    np.testing.assert_array_equal(want[:, middle + quarter :], photo[:, middle + quarter :])
    assert difference(want[:, : middle - quarter], photo[:, : middle - quarter]) > 0.05


def test_three_ways_to_see_an_edit(page, animator):
    choose(page, "happy")
    shows(page, result(animator, Recipe(full("happy"), 1.0)))
    page.get_by_label("Side by side").check(force=True)
    before, after = (page.locator(name).bounding_box() for name in ("#before", "#after"))
    assert before["x"] + before["width"] <= after["x"]
    page.get_by_label("Slider").first.check(force=True)
    page.locator("#divider").fill("25")
    assert "75%" in page.locator("#before").evaluate("image => image.style.clipPath")
    box = page.locator("#frame").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.up()
    assert abs(float(page.locator("#divider").input_value()) - 60) < 2
    page.locator("#views input").first.check(force=True)
    hold = page.locator("#hold").bounding_box()
    page.mouse.move(hold["x"] + 9, hold["y"] + 9)
    page.mouse.down()
    assert page.locator("#after").is_hidden()
    page.mouse.up()
    assert page.locator("#after").is_visible()


def test_several_faces_keep_their_own_expressions(browser, url, animator):
    photo = two_faces()
    both = animator.find(np.asarray(photo), "all")
    with visit(browser, url) as page:
        drop(page, photo)
        said(page, "2 faces were found", role="status")
        page.locator("#after[data-edited=false]").wait_for()
        choose(page, "sad")
        page.get_by_label("Edit face 2").click()
        assert page.locator("#expressions [aria-pressed=true]").count() == 0
        choose(page, "happy")
        rows = [
            Recipe(full(name), 1.0).values(one.aus, animator.action_units)
            for name, one in zip(("sad", "happy"), both, strict=True)
        ]
        shows(page, animator.with_faces(np.asarray(photo), both, rows))


def test_expressions_from_photos_and_files(page, animator, tmp_path):
    other = face(person=3, smile=1)
    theirs = dict(zip(ACTION_UNITS, own(animator, other).aus.tolist(), strict=True))
    page.evaluate("document.getElementById('elsewhere').open = true")
    page.get_by_role("radio", name="Mouth").check(force=True)
    drop(page, other, into="#donor")
    mouth = ("AU09", "AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23", "AU25", "AU26")
    recipe = Recipe({unit: theirs[unit] for unit in mouth}, 1.0)
    shows(page, result(animator, recipe))
    with page.expect_download() as download:
        page.locator("#save-expression").click()
    saved = tmp_path / "expression.json"
    download.value.save_as(saved)
    left, right = from_json(saved.read_bytes())
    values = recipe.values(own(animator).aus, ACTION_UNITS)
    np.testing.assert_allclose(list(left.values()), values, atol=1e-4)
    assert left == right
    page.locator("#reset").click()
    drop(page, saved.read_bytes(), into="#load-expression", name="smile.json")
    shows(page, result(animator, recipe))
    assert page.locator("#strength").input_value() == "100"
    drop(page, b"{}", into="#load-expression", name="x.json")
    said(page, "This is not an expression file")
    drop(page, b"AU12_r,AU04_r,confidence,success\n5,0,1,1\n", into="#donor", name="one.csv")
    said(page, "takes the expression of one.csv", role="status")


def test_a_photo_is_saved_and_says_what_it_is(page, animator, run, tmp_path):
    page.locator("#save").click()
    said(page, "Nothing is edited yet")
    choose(page, "happy")
    with page.expect_download() as download:
        page.locator("#save").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    told = read_provenance(path)
    assert (told.notice, told.model, told.sha256) == (NOTICE, run.name, animator.model.sha256)
    want = result(animator, Recipe(full("happy"), 1.0))
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), want)


def test_films_go_through_the_timeline(page, animator, tmp_path):
    page.evaluate("document.getElementById('timeline').open = true")
    choose(page, "sad")
    shows(page, result(animator, Recipe(full("sad"), 1.0)))
    page.locator("#add-step").click()
    choose(page, "happy")
    page.locator("#add-step").click()
    page.get_by_label("Seconds of expression 1").fill("0.4")
    page.get_by_label("Seconds of expression 2").fill("0.4")
    page.get_by_label("Seconds of expression 2").blur()
    page.get_by_label("Format of the film").select_option("webp")
    page.get_by_label("Size of the film").select_option("320")
    page.locator("#make-film").click()
    page.locator("#film-job img, #problem:not([hidden])").first.wait_for(timeout=180_000)
    assert page.locator("#problem").is_hidden(), page.locator("#problem").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save WEBP").click()
    path = tmp_path / "film.webp"
    download.value.save_as(path)
    assert read_provenance(path).notice == NOTICE
    want = [result(animator, Recipe(full(name), 1.0)) for name in ("sad", "happy")]
    with Image.open(path) as film:
        frames = []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB")))
    assert difference(frames[0], np.asarray(face())) < 6
    for target in want:
        assert min(difference(frame, target) for frame in frames) < 12
    assert page.locator("#steps li").count() == 2
    page.get_by_label("Remove expression 1").click()
    assert page.locator("#steps li").count() == 1


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from ganimation_jax.media.moving import write_moving

    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    frames = [np.asarray(face(smile=smile)) for smile in np.linspace(0, 1, 8)]
    write_moving(path, frames, fps=10, tags={})
    return path


def test_videos_are_edited_and_drive_photos(page, clip):
    page.locator("#tab-video").click()
    page.set_input_files("#video", clip)
    page.locator("#video-start").click()
    said(page, "Choose an expression first.")
    choose(page, "sad")
    page.locator("#video-start").click()
    page.locator("#video-job button", has_text="Save MP4").wait_for(timeout=180_000)
    page.locator("#tab-drive").click()
    assert page.locator("#controls").is_hidden()
    page.set_input_files("#driver", clip)
    page.locator("#drive-start").click()
    page.locator("#drive-job button", has_text="Save MP4").wait_for(timeout=180_000)
    page.set_input_files("#driver", {"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"no"})
    page.locator("#drive-start").click()
    page.locator("#problem").wait_for()
    page.locator("#tab-photo").click()


def test_models_are_compared(page, animator):
    choose(page, "angry")
    page.locator("#tab-compare").click()
    want = result(animator, Recipe(full("angry"), 1.0))
    for number in (1, 2):
        shows(page, want, name=f"#pair figure:nth-child({number}) img")
    page.locator("#tab-photo").click()


def test_files_arrive_by_drop_and_paste(page, animator):
    other = face(person=3)
    code = """([kind, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
      const name = kind === "paste" ? "clipboardData" : "dataTransfer";
      const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data })
        : new DragEvent("drop", { dataTransfer: data });
      window.dispatchEvent(event);
    }"""
    for kind, image in (("drop", other), ("paste", face())):
        page.evaluate(code, [kind, list(given(image)["buffer"])])
        shows(page, np.asarray(image), name="#before")


def test_it_is_used_by_keyboard(page, animator):
    page.locator("#tab-photo").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-video"
    assert page.locator("#panel-video").is_visible()
    page.keyboard.press("Home")
    assert page.locator("#panel-photo").is_visible()
    page.locator("#expressions [data-name=angry]").focus()
    page.keyboard.press("Enter")
    shows(page, result(animator, Recipe(full("angry"), 1.0)))
    page.locator("#hold").focus()
    page.keyboard.down(" ")
    assert page.locator("#before").is_visible()
    page.keyboard.up(" ")
    assert page.locator("#before").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everybody_can_use_it(browser, url, device, scheme):
    """By axe-core: names, roles, contrast; targets of 44 pixels on a phone; nothing is cut off."""
    from axe_playwright_python.sync_playwright import Axe

    options = device | {"color_scheme": scheme, "bypass_csp": True, "reduced_motion": "reduce"}
    with visit(browser, url, **options) as page:
        page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        page.locator("#add-step").click()
        for tab in ("video", "drive", "compare", "photo"):
            page.locator(f"#tab-{tab}").click()
            found = Axe().run(page).response["violations"]
            assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []
            width = device["viewport"]["width"]
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width
            if device is PHONE:
                assert page.evaluate(SMALL) == []


# Controls of fewer than 44 pixels; of a check box or radio button its label counts.
SMALL = """() => [...document.querySelectorAll("button, .button, select, summary, \
  input[type=range], .segments label, .check, #steps input")].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && (box.height < 43.5 || (box.width < 43.5 && one.type !== "number"));
  }).map((one) => one.outerHTML.slice(0, 90))"""


def test_the_picture_stays_in_view_on_a_phone(browser, url):
    with visit(browser, url, **PHONE) as page:
        page.evaluate("document.getElementById('muscles').open = true")
        page.locator("#unit-AU12").scroll_into_view_if_needed()
        page.wait_for_timeout(100)
        view, slider = (page.locator(x).bounding_box() for x in ("#frame", "#unit-AU12"))
        assert -1 < view["y"] < 5
        assert view["y"] + view["height"] < slider["y"]


def test_what_cannot_be_used_leaves_the_current_photo(page, animator):
    choose(page, "happy")
    want = result(animator, Recipe(full("happy"), 1.0))
    shows(page, want)
    for image, text in (
        (Image.new("RGB", (200, 200), "teal"), "No face was found"),
        (b"<script>alert(1)</script>", "not a picture that can be read"),
        (bomb(20_000, 10_000), "too many pixels"),
        (bomb(9_000, 9_000), "9000 x 9000 pixels, more than the 50 million"),
    ):
        drop(page, image)
        said(page, text)
        shows(page, want)
    page.locator("#dismiss").click()
    move(page, "AU04", 0.9)
    page.wait_for_timeout(500)
    assert page.locator("#problem").is_hidden()


def bomb(width, height):
    """A PNG of few bytes that says it is large."""

    def chunk(name, content):
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_visitors_do_not_meet_and_leave_nothing(browser, page, url, animator, parent):
    with visit(browser, url) as other:
        drop(other, face(person=3))
        other.locator("#after[data-edited=false]").wait_for()
        # Both at once: each sees their own, edited one after the other.
        for value in (0.2, 0.9, 0.5):
            move(other, "AU04", value)
            move(page, "AU04", 1 - value)
        for one, image, value in ((other, face(person=3), 0.5), (page, face(), 0.5)):
            by = value - float(own(animator, image).aus[ACTION_UNITS.index("AU04")])
            shows(one, result(animator, Recipe(moved={"AU04": by}), image=image))
        assert animator.most == 1
        other.evaluate("document.getElementById('timeline').open = true")
        other.locator("#make-film").click()
        other.locator("#film-job video").wait_for(timeout=180_000)
        before = set(root_of(parent).iterdir())
        assert not [path for path in before if path.name.startswith("upload")]
        assert len(before) >= 1
    for _ in range(600):  # ten times what a quiet machine needs at most
        if len(set(root_of(parent).iterdir())) == len(before) - 1:
            return
        time.sleep(0.1)
    raise AssertionError("a page that was closed leaves its films")


def test_on_a_network_the_page_opens_with_its_token_only(browser, animator):
    with app.serving([animator], "0.0.0.0") as address:
        assert "?token=" in address
        with visit(browser, address, address.partition("?")[0]) as page:
            assert page.locator("#after").get_attribute("data-edited") == "true"
            page.locator("#tab-compare").click()
            assert "--compare MODEL" in page.locator("#panel-compare").inner_text()
