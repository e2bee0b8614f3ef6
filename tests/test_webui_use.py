"""The web page by keyboard, on a phone, for everybody; what it refuses and forgets."""

import struct
import time
import zlib

import numpy as np
import pytest
from browser_page import (
    DESKTOP,
    PHONE,
    choose,
    drop,
    face,
    full,
    given,
    missing,
    move,
    own,
    result,
    root_of,
    said,
    shows,
    visit,
)
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation.recipes import Recipe
from ganimation_jax.web import app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("fresh"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]


def test_files_arrive_by_drop_and_paste(page, page_animator):
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


def test_it_is_used_by_keyboard(page, page_animator):
    page.locator("#tab-photo").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-video"
    assert page.locator("#panel-video").is_visible()
    page.keyboard.press("Home")
    assert page.locator("#panel-photo").is_visible()
    page.locator("#expressions [data-name=angry]").focus()
    page.keyboard.press("Enter")
    shows(page, result(page_animator, Recipe(full("angry"), 1.0)))
    page.locator("#hold").focus()
    page.keyboard.down(" ")
    assert page.locator("#before").is_visible()
    page.keyboard.up(" ")
    assert page.locator("#before").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everybody_can_use_it(browser, page_url, device, scheme):
    """By axe-core: names, roles, contrast; targets of 44 pixels on a phone; nothing is cut off."""
    from axe_playwright_python.sync_playwright import Axe

    options = device | {"color_scheme": scheme, "bypass_csp": True, "reduced_motion": "reduce"}
    with visit(browser, page_url, **options) as page:
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


def test_the_picture_stays_in_view_on_a_phone(browser, page_url):
    with visit(browser, page_url, **PHONE) as page:
        page.evaluate("document.getElementById('muscles').open = true")
        page.locator("#unit-AU12").scroll_into_view_if_needed()
        page.wait_for_timeout(100)
        view, slider = (page.locator(x).bounding_box() for x in ("#frame", "#unit-AU12"))
        assert -1 < view["y"] < 5
        assert view["y"] + view["height"] < slider["y"]


def test_what_cannot_be_used_leaves_the_current_photo(page, page_animator):
    choose(page, "happy")
    want = result(page_animator, Recipe(full("happy"), 1.0))
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


def test_visitors_do_not_meet_and_leave_nothing(
    browser, page, page_url, page_animator, server_folder
):
    with visit(browser, page_url) as other:
        drop(other, face(person=3))
        other.locator("#after[data-edited=false]").wait_for()
        # Both at once: each sees their own, edited one after the other.
        for value in (0.2, 0.9, 0.5):
            move(other, "AU04", value)
            move(page, "AU04", 1 - value)
        for one, image, value in ((other, face(person=3), 0.5), (page, face(), 0.5)):
            by = value - float(own(page_animator, image).aus[ACTION_UNITS.index("AU04")])
            shows(one, result(page_animator, Recipe(moved={"AU04": by}), image=image))
        assert page_animator.most == 1
        other.evaluate("document.getElementById('timeline').open = true")
        other.locator("#make-film").click()
        other.locator("#film-job video").wait_for(timeout=180_000)
        before = set(root_of(server_folder).iterdir())
        assert not [path for path in before if path.name.startswith("upload")]
        assert len(before) >= 1
    for _ in range(600):  # ten times what a quiet machine needs at most
        if len(set(root_of(server_folder).iterdir())) == len(before) - 1:
            return
        time.sleep(0.1)
    raise AssertionError("a page that was closed leaves its films")


def test_on_a_network_the_page_opens_with_its_token_only(browser, page_animator):
    with app.serving([page_animator], "0.0.0.0") as address:
        assert "?token=" in address
        with visit(browser, address, address.partition("?")[0]) as page:
            assert page.locator("#after").get_attribute("data-edited") == "true"
            page.locator("#tab-compare").click()
            assert "--compare MODEL" in page.locator("#panel-compare").inner_text()
