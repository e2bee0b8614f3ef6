"""The web page, as people use it: a browser, a server, a tiny model."""

import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, mediapipe_missing, small_critic, small_generator
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS, EXPRESSIONS
from ganimation_jax.animation.animator import Animator, Face
from ganimation_jax.animation.provenance import NOTICE, read_provenance
from ganimation_jax.faces import offline
from ganimation_jax.faces.alignment import crop
from ganimation_jax.interop.torch_export import critic_to_state_dict, generator_to_state_dict
from ganimation_jax.interop.torch_import import import_run, write_run
from ganimation_jax.synthetic.drawn_face import render
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.web import app, photos, visitors
from ganimation_jax.web.photos import take_upload
from ganimation_jax.web.visitors import Photo, Refused, Sitting, Visitors

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
)
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)


def missing():
    """Why the page cannot be tried here; empty if it can."""
    for package in ("gradio", "playwright", "av"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed (extra webui, and playwright)"
    if mediapipe_missing():
        return mediapipe_missing()
    return "" if CHROMIUM else f"none of {', '.join(PROGRAMS)} is installed"


# Gradio 6.31 asks pandas 3.1 for what that finds old.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio.queueing")


def needs_browser(test):
    skip = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
    return pytest.mark.slow(skip(test))


def face(person=0, smile=0.0, side=256):
    """A face drawn by the library, which MediaPipe takes for one: uint8."""
    aus = np.zeros(len(ACTION_UNITS), np.float32)
    aus[ACTION_UNITS.index("AU12")] = smile
    drawn = Image.fromarray(render(SyntheticFaces(9, 256).identity(person), aus, 256))
    return drawn.resize((side, side))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose generator and critic are noise: an edit is sure to change the picture."""
    generator = generator_to_state_dict(small_generator()[1])
    config, state = import_run(generator, critic_to_state_dict(small_critic()[1]))
    folder = tmp_path_factory.mktemp("runs") / "tiny & <b>"
    write_run(folder, config, state)
    return folder


class Watched(Animator):
    """Counts how often faces are looked for, and how many edits are made at a time."""

    looks = edits = most = 0

    def find(self, *args, **options):
        self.looks += 1
        return super().find(*args, **options)

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
def url(animator, browser):
    # Where no event loop runs Gradio makes some and leaves them open; the browser's runs.
    with app.serving(animator) as url:
        folder = os.environ["GRADIO_TEMP_DIR"]
        yield url
    assert not os.path.exists(folder)


@contextlib.contextmanager
def visit(browser, url, server=""):
    """An open page. All that it asks for is of the server, and nothing goes wrong in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else 0)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#AU12 input")
    yield page
    context.close()
    assert len(asked) > 20
    assert not [one for one in asked if not one.startswith((server or url, "data:", "blob:"))]
    assert wrong == []


@pytest.fixture(scope="module")
def page(browser, url):
    """A page with a photo."""
    with visit(browser, url) as page:
        drop(page, face())
        page.wait_for_selector("#view img")
        yield page


def drop(page, image, into="#photo input[type=file]"):
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        image = buffer.getvalue()
    page.set_input_files(into, {"name": "a.png", "mimeType": "image/png", "buffer": image})


def sources(page):
    return [image.get_attribute("src") for image in page.locator("#view img").all()]


def pictures(page):
    """What the browser shows before and after, uint8."""
    bodies = [page.request.get(source).body() for source in sources(page)]
    return [np.asarray(Image.open(io.BytesIO(body)).convert("RGB")) for body in bodies]


def edited(page, want, within=3):
    """Wait until the page shows this edit, as JPEG does; what it shows."""
    for _ in range(100):
        after = pictures(page)[1]
        if after.shape == want.shape and difference(after, want) < within:
            return after
        page.wait_for_timeout(100)
    raise AssertionError(f"the edit is off by {difference(after, want):.1f}")


def found(animator, image=None):
    return animator.find(np.asarray(image or face()))


def sliders(page):
    return [
        float(page.locator(f"#{code} input[type=range]").input_value()) for code in ACTION_UNITS
    ]


def move(page, code, value):
    page.locator(f"#{code} input[type=range]").fill(str(value))


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def difference(one, other):
    return np.abs(one.astype(float) - other).mean()


# The page


@pytest.mark.slow
@needs_browser
def test_a_photo_shows_its_own_expression(page, animator):
    (own,) = found(animator)
    np.testing.assert_allclose(sliders(page), own.aus, atol=0.006)
    assert 0 < sum(sliders(page)) < len(ACTION_UNITS)
    before, after = pictures(page)
    np.testing.assert_array_equal(before, after)
    assert difference(before, np.asarray(face())) < 3  # JPEG
    head = page.locator("#head").inner_text()
    assert "tiny & <b>" in head
    assert "32 x 32" in head
    assert "edited by AI" in page.locator("#foot").inner_text()


@pytest.mark.slow
@needs_browser
def test_a_moved_slider_shows_the_edit_of_its_last_place(page, animator):
    before = pictures(page)[0]
    looks = animator.looks
    for value in (0.1, 0.9, 0.3, 0.7):
        move(page, "AU12", value)
    assert sliders(page)[ACTION_UNITS.index("AU12")] == 0.7
    want = animator.with_faces(np.asarray(face()), found(animator), [sliders(page)])
    edited(page, want)
    assert difference(before, want) > 10
    assert animator.looks == looks + 1  # that was us: the page has not looked again


@pytest.mark.slow
@needs_browser
def test_where_the_model_paints_is_shown_on_the_photo(page, animator):
    photo, (one,) = np.asarray(face()), found(animator)
    plain = animator.with_faces(photo, [one], [sliders(page)])
    page.locator("#overlay input").check()
    # As the explanation of the same edit has it.
    kept = animator.explain(photo, np.array(sliders(page))).attention[..., None]
    alpha = photos.OVERLAY * (1 - kept)
    edited(page, plain * (1 - alpha) + alpha * photos.PAINT)
    page.locator("#overlay input").uncheck()
    edited(page, plain)


@pytest.mark.slow
@needs_browser
def test_expressions_by_name_and_back(page, animator):
    (own,) = found(animator)
    press(page, "surprised")
    page.wait_for_function("document.querySelector('#AU26 input').value == 0.8")
    want = dict.fromkeys(ACTION_UNITS, 0) | dict.fromkeys(EXPRESSIONS["surprised"], 0.8)
    assert sliders(page) == list(want.values())
    edited(page, animator.with_faces(np.asarray(face()), [own], [list(want.values())]))
    press(page, "neutral")
    edited(page, animator.with_faces(np.asarray(face()), [own], [[0] * len(ACTION_UNITS)]))
    assert not any(sliders(page))
    press(page, "own expression")
    edited(page, np.asarray(face()))
    np.testing.assert_allclose(sliders(page), own.aus, atol=0.006)


@pytest.mark.slow
@needs_browser
def test_the_expression_of_another_photo(page, animator):
    other = face(person=3, smile=1)
    (theirs,), (own,) = found(animator, other), found(animator)
    assert np.abs(theirs.aus - own.aus).max() > 0.1
    drop(page, other, into="[data-testid='from another photo-upload-button']")
    edited(page, animator.with_faces(np.asarray(face()), [own], [theirs.aus]), within=4)
    np.testing.assert_allclose(sliders(page), theirs.aus, atol=0.006)


@pytest.mark.slow
@needs_browser
def test_saved_files_say_what_they_are(page, animator, run, tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "FILM_STEPS", steps := 4)
    press(page, "happy")
    page.wait_for_function("document.querySelector('#AU12 input').value == 0.8")
    files = {kind: save(page, kind, tmp_path) for kind in ("png", "gif", "mp4")}
    for kind in ("png", "gif"):
        told = read_provenance(files[kind])
        assert told.notice == NOTICE
        assert (told.model, told.sha256) == (run.name, animator.model.sha256)
        assert "AU12=0.80" in told.action_units
        assert "AU04=0.00" in told.action_units
    # The picture is the edit, to the bit; the film begins with the photo and comes to the edit.
    want = animator.with_faces(np.asarray(face()), found(animator), [sliders(page)])
    with Image.open(files["png"]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), want)
    with Image.open(files["gif"]) as film:
        assert film.n_frames == 2 * steps  # those at rest are one
        assert difference(np.asarray(film.convert("RGB")), np.asarray(face())) < 6
        film.seek(steps)
        assert difference(np.asarray(film.convert("RGB")), want) < 12
    import av

    with av.open(str(files["mp4"])) as film:
        assert NOTICE in film.metadata["comment"]
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 2 * (steps + photos.FILM_REST) - 1
    assert difference(frames[0], np.asarray(face())) < 6
    assert difference(frames[photos.FILM_REST + steps], want) < 20


def save(page, kind, folder):
    with page.expect_download() as download:
        page.click(f"#save-{kind}")
    assert download.value.suggested_filename == f"edited.{kind}"
    download.value.save_as(folder / f"edited.{kind}")
    return folder / f"edited.{kind}"


@pytest.mark.slow
@needs_browser
def test_a_photo_without_a_face_leaves_the_current_one(page, animator):
    move(page, "AU12", 0.6)
    values = sliders(page)
    drop(page, Image.new("RGB", (200, 200), "teal"))
    said(page, "No face was found.")
    assert sliders(page) == values
    move(page, "AU12", 0.7)
    edited(page, animator.with_faces(np.asarray(face()), found(animator), [sliders(page)]))


@needs_browser
def test_on_a_network_the_page_opens_with_its_token_only(browser, animator):
    with app.serving(animator, "0.0.0.0") as address:
        assert "?token=" in address
        with visit(browser, address, address.partition("?")[0]) as page:
            drop(page, face())
            page.wait_for_selector("#view img")
        assert answer(address.partition("?")[0])[0] == 401


@needs_browser
def test_it_fits_a_phone_and_the_picture_stays_in_view(page):
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    page.locator("#AU26").scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    view, slider = page.locator("#view").bounding_box(), page.locator("#AU26").bounding_box()
    assert 0 <= view["y"] < 5
    assert view["y"] + view["height"] < slider["y"]
    page.set_viewport_size({"width": 1280, "height": 860})
    page.wait_for_timeout(100)
    view, slider = page.locator("#view").bounding_box(), page.locator("#AU26").bounding_box()
    assert view["x"] + view["width"] < slider["x"]


@pytest.mark.slow
@needs_browser
def test_another_visitor_sees_what_is_wrong_and_leaves_nothing(browser, page, url, animator):
    root = Path(os.environ["GRADIO_TEMP_DIR"])
    before = set(root.iterdir())
    with visit(browser, url) as other:
        press(other, "save PNG")
        said(other, "Drop a photo first.")
        noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
        drop(other, Image.fromarray(noise))
        said(other, "No face was found.")
        drop(other, b"<script>alert(1)</script>")
        said(other, "not a picture that can be read")
        drop(other, bomb(20_000, 10_000))
        said(other, "too many pixels")
        drop(other, bomb(9_000, 9_000))
        said(other, "9000 x 9000 pixels, more than the 50 million")
        several = Image.new("RGB", (512, 256))
        for place in (0, 1):
            several.paste(face(place, side=256 - 30 * place), (256 * place, 0))
        drop(other, several)
        said(other, "2 faces were found", role="status")
        press(other, "save GIF")
        said(other, "Nothing is edited yet")
        other.get_by_label("all faces").check()
        # Both visitors at once: each sees their own, edited one after the other.
        for value in (0.2, 0.9, 0.5):
            move(other, "AU04", value)
            move(page, "AU04", 1 - value)
        both = animator.find(photo := np.asarray(several), "all")
        assert len(both) == 2
        edited(other, animator.with_faces(photo, both, [sliders(other)] * 2))
        want = animator.with_faces(np.asarray(face()), found(animator), [sliders(page)])
        edited(page, want)
        assert animator.most == 1
        assert len(set(root.iterdir()) - before) == 1  # uploads are gone, the folder is not
    for _ in range(100):
        if set(root.iterdir()) == before:
            return
        time.sleep(0.1)
    raise AssertionError(f"left: {set(root.iterdir()) - before}")


def said(page, text, role="alert"):
    page.locator(f"#status [role={role}]").filter(has_text=text).wait_for()


def bomb(width, height):
    """A PNG of few bytes that says it is large."""

    def chunk(name, content):
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


# What the server gives away


def answer(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize(
    "path",
    [
        "file=/etc/passwd",
        "file=etc/passwd",
        "file={root}/../../etc/passwd",
        "file={run}/config.json",
        "file=pyproject.toml",
        "file=\0",
        "file=http://127.0.0.1:9/",
        "file=https://example.com/",
        "proxy=https://example.com/",
        "info",
        "run/edit",
        "call/edit",
    ],
)
def test_no_other_files_are_served(url, run, path):
    named = path.format(root=os.environ["GRADIO_TEMP_DIR"], run=run)
    status, body = answer(f"{url}gradio_api/{urllib.parse.quote(named, safe='=/:')}")
    assert (status, body) == (403, b"not served")


@pytest.mark.slow
@needs_browser
def test_no_other_file_is_taken_for_an_upload(url):
    config = json.loads(answer(f"{url}config")[1])
    (photo,) = [c["id"] for c in config["components"] if c["props"].get("elem_id") == "photo"]
    (event,) = [d["id"] for d in config["dependencies"] if [photo, "upload"] in d["targets"]]
    root = os.environ["GRADIO_TEMP_DIR"]

    def join(path):
        upload = {"path": path, "meta": {"_type": "gradio.FileData"}}
        return post(
            f"{url}gradio_api/queue/join",
            json.dumps({"data": [upload, False], "fn_index": event, "session_hash": "someone"}),
        )

    ours = str(ROOT / "docs/portrait.png")
    for path in (
        ours,
        f"{root}/../{ours}",
        "https://example.com/a.png",
        "http:\n//example.com/a.png",
    ):
        assert join(path) == (403, b"not served")
    assert Path(ours).exists()  # uploads are removed when they are read
    assert join(f"{root}/absent.png")[0] == 200
    told = answer(f"{url}gradio_api/queue/data?session_hash=someone")[1].decode()
    assert "The upload was lost" in told
    for text in ("{", "[" * 100_000, " " * 2**21):
        assert post(f"{url}gradio_api/queue/join", text)[0] == 403


def post(url, text):
    kind = {"Content-Type": "application/json"}
    return answer(urllib.request.Request(url, text.encode(), kind))


@pytest.mark.slow
@needs_browser
def test_pages_may_load_nothing_from_elsewhere(url):
    with urllib.request.urlopen(url, timeout=20) as response:
        assert "default-src 'self';" in response.headers["Content-Security-Policy"]


@pytest.mark.slow
@needs_browser
def test_uploads_are_limited(url):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body += bytes(visitors.LARGEST_FILE + 1000) + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    status, text = answer(urllib.request.Request(f"{url}gradio_api/upload", body, kind))
    assert (status, b"maximum allowed size" in text) == (413, True)


# Without a browser


def test_a_file_that_came_in_another_way_is_limited_too(monkeypatch, tmp_path):
    monkeypatch.setattr(photos, "LARGEST_FILE", 1000)
    path = tmp_path / "upload/a.png"
    path.parent.mkdir()
    path.write_bytes(bytes(1001))
    with pytest.raises(Refused, match="larger than"):
        take_upload(path)
    assert not path.parent.exists()
    with pytest.raises(Refused, match="try it again"):
        take_upload(path)


def test_a_large_photo_is_reduced_with_its_faces(monkeypatch, tmp_path):
    monkeypatch.setattr(photos, "PHOTO_SIDE", 100)
    path = tmp_path / "a.png"
    Image.new("RGB", (200, 150)).save(path)
    image, remark = take_upload(path)
    assert image.shape == (75, 100, 3)
    assert "100 x 75" in remark


def test_a_reduced_photo_has_its_faces_in_the_same_places():
    image = np.asarray(face(side=600))
    transform = np.array([[0.1, 0.02, 3.0], [-0.02, 0.1, 9.0]])
    one = Face(crop(image, transform, 64), transform, (10, 20, 400, 500), np.zeros(17))
    small = Photo(image[:, :-9], (one,)).within(150)
    assert small.image.shape == (150, 148, 3)
    (less,) = small.faces
    assert difference(crop(small.image, less.transform, 64), one.crop) < 4
    np.testing.assert_allclose(less.box, np.array(one.box) / 4, rtol=0.01)
    assert Photo(image, (one,)).within(600).faces == (one,)


def seat(visitors, key):
    """A visitor begins with a photo; its folder."""
    with visitors.arriving(key) as folder:
        visitors.seat(Sitting(folder, *[None] * 5), key)
    return folder


def test_visitors_have_folders_of_their_own_that_go_with_them(tmp_path):
    guests = Visitors(tmp_path, most=2)
    one, two = (seat(guests, key) for key in "ab")
    assert guests.sitting("a").folder == one
    three = seat(guests, "c")  # b did nothing for the longest time
    assert [folder.exists() for folder in (one, two, three)] == [True, False, True]
    with pytest.raises(Refused, match="first"):
        guests.sitting("b")
    another = seat(guests, "a")
    assert (one.exists(), another.exists()) == (False, True)
    for key in "abc":
        guests.leave(key)
    assert list(tmp_path.iterdir()) == []


def test_a_photo_is_kept_until_another_one_is_good(tmp_path):
    guests = Visitors(tmp_path)
    first = seat(guests, "a")
    with pytest.raises(Refused), guests.arriving("a") as folder:
        raise Refused("no face")
    assert not folder.exists()
    assert guests.sitting("a").folder == first
    with guests.arriving("a") as folder:
        guests.leave("a")  # the page is closed meanwhile
        guests.seat(Sitting(folder, *[None] * 5), "a")
    assert list(tmp_path.iterdir()) == []
    assert not guests.has_photo("a")


def test_uploads_that_no_page_has_used_are_removed(tmp_path):
    guests = Visitors(tmp_path)
    folder, upload, late = seat(guests, "a"), tmp_path / "1234/a.png", tmp_path / "5678/a.png"
    for path in (upload, late):
        path.parent.mkdir()
        path.touch()
    long_ago = time.time() - visitors.FORGOTTEN - 1
    for path in (late.parent, folder):
        os.utime(path, (long_ago, long_ago))
    seat(guests, "b")
    assert upload.exists()
    assert not late.exists()
    assert folder.exists()  # as old, but in use


def test_a_visitors_files_have_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr(visitors, "VISITOR_BYTES", 2000)
    sitting = Sitting(tmp_path, *[None] * 5)
    places = []
    for number in range(4):
        places.append(sitting.place("edited.png"))
        places[-1].write_bytes(bytes(900))
        os.utime(places[-1].parent, ns=(number, number))
    assert [place.exists() for place in places] == [False, True, True, True]


def test_a_visitor_has_some_files_at_a_time(tmp_path):
    sitting = Sitting(tmp_path, *[None] * 5)
    places = []
    for number in range(visitors.MOST_FILES + 3):
        places.append(sitting.place("edited.png"))
        os.utime(places[-1].parent, ns=(number, number))
    assert [place.parent.exists() for place in places] == [False] * 3 + [True] * 8
    assert {place.name for place in places} == {"edited.png"}


# The command


@pytest.fixture
def command(monkeypatch, capsys):
    """Run it; what to do while it serves, before it is asked to end."""
    handlers = [(one, signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGTERM)]

    for name in (*offline.PROXIES, *offline.EXCEPTIONS):
        monkeypatch.setenv(name, "")  # to be as it was afterwards

    def run_it(*words, meanwhile=lambda: None):
        pause = lambda: (meanwhile(), os.kill(os.getpid(), signal.SIGTERM))  # noqa: E731
        monkeypatch.setattr(signal, "pause", pause)
        return app.main([str(word) for word in words]), *capsys.readouterr()

    yield run_it
    for number, handler in handlers:
        signal.signal(number, handler)


@needs_browser
def test_it_serves_until_it_is_ended(command, run, url, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
    seen = []
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "googleapis.com")

    def look():
        seen.append((answer(address)[0], os.environ["GRADIO_TEMP_DIR"]))
        # What MediaPipe sends goes nowhere.
        assert {os.environ[name] for name in offline.PROXIES} == {offline.NOWHERE}
        assert not {"no_proxy", "NO_PROXY"} & set(os.environ)

    port = urllib.parse.urlsplit(address).port
    code, out, error = command("--model", run, "--port", port, meanwhile=look)
    assert (code, out, error) == (0, f"{address}  (press Ctrl-C to stop)\n", "")
    ((status, folder),) = seen
    assert status == 200
    assert not os.path.exists(folder)


@needs_browser
def test_it_says_who_can_reach_it(command, run, url):
    seen = []
    with socket.socket() as free:
        free.bind(("0.0.0.0", 0))
        port = free.getsockname()[1]
    look = lambda: seen.append(answer(f"http://127.0.0.1:{port}/")[0])  # noqa: E731
    code, out, _ = command("--model", run, "--host", "0.0.0.0", "--port", port, meanwhile=look)
    assert (code, seen) == (0, [401])
    address, about = out.splitlines()
    assert re.match(rf"http://[0-9.]+:{port}/\?token=\S{{32}}  ", address)
    assert "0.0.0.0" not in address
    assert "anyone who can reach this computer" in about


def test_models_are_downloaded_before_the_way_out_is_closed(command, tmp_path, monkeypatch):
    """A card's address is asked for with the user's own proxy, whatever it is."""
    proxies = []

    def load(name, landmarker):
        proxies.append(os.environ["https_proxy"])
        raise FileNotFoundError("no model")

    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setattr(app, "locate", lambda *_: proxies.append(os.environ["https_proxy"]))
    monkeypatch.setattr(app.Animator, "load", load)
    assert command("--model", "x")[0] == 2
    assert proxies == ["http://proxy.example:3128"] * 2


@needs_browser
def test_a_taken_port_is_named(command, run, url):
    code, _, error = command("--model", run, "--port", urllib.parse.urlsplit(url).port)
    assert (code, error.count("\n")) == (2, 1)
    assert "--port" in error


def test_what_keeps_it_from_starting(command, run, tmp_path, monkeypatch):
    code, _, error = command("--model", tmp_path)
    assert code == 2
    assert error.startswith("error: no checkpoint in ")
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, _, error = command("--model", run)
    assert (code, error) == (
        2,
        "error: the web page needs Gradio: pip install 'ganimation-jax[webui]'\n",
    )
    monkeypatch.undo()
    code, _, error = command("--model", run, "--allow-host", "https://faces.example.org")
    assert code == 2
    assert "is not a host: give a name" in error
