"""A film and screenshots of the web page, taken by a real browser from a real server.

    python -m experiments.figures.web_page --film docs/webui.webp --screens /tmp/screens

The film goes through the photo tab. The screenshots are of all tabs, 1280 and 390 pixels wide.
Needs the extras webui and test, and Chromium.
"""

import argparse
import contextlib
import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from ganimation_jax.animation.animator import Animator
from ganimation_jax.media.moving import write_moving
from ganimation_jax.runs.pretrained import DEFAULT
from ganimation_jax.web import app
from ganimation_jax.web.desk import PORTRAIT

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
DESKTOP = {"viewport": {"width": 1280, "height": 860}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
WIDTH = 800  # of the film, in pixels
PATIENCE = 300_000  # milliseconds


class Camera:
    """Frames of a page, and how long each is shown."""

    def __init__(self, page: Page):
        self.page, self.frames, self.times = page, [], []

    def take(self, seconds):
        shown = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        height = round(shown.height * WIDTH / shown.width)
        self.frames.append(shown.resize((WIDTH, height), Image.Resampling.LANCZOS))
        self.times.append(round(1000 * seconds))

    def save(self, path):
        first, *others = self.frames
        first.save(
            path, save_all=True, append_images=others, duration=self.times, loop=0, quality=80
        )


@contextlib.contextmanager
def changed(page):
    """Wait until the page shows another edit than before."""
    before = page.locator("#after").get_attribute("src")
    yield
    page.wait_for_function(
        "(before) => document.getElementById('after').src !== before", arg=before, timeout=PATIENCE
    )
    page.evaluate("document.getElementById('after').decode()")


def choose(page, name):
    with changed(page):
        page.locator(f"#expressions [data-name={name}]").click()


def film(page, path):
    camera = Camera(page)
    camera.take(1.6)
    page.keyboard.down("o")
    camera.take(1.0)
    page.keyboard.up("o")
    for name in ("surprised", "sad", "angry", "happy"):
        choose(page, name)
        camera.take(0.9)
    for strength in (50, 0, 75, 150, 100):
        with changed(page):
            page.locator("#strength").fill(str(strength))
        camera.take(0.5)
    page.get_by_label("Side by side").check()
    camera.take(1.4)
    page.get_by_label("Slider").check()
    for place in (30, 70, 50):
        page.locator("#divider").fill(str(place))
        camera.take(0.6)
    page.get_by_label("Edit", exact=True).check()
    with changed(page):
        page.locator("#reset").click()
    page.get_by_label("Right half").check()
    choose(page, "happy")
    camera.take(1.2)
    page.get_by_label("Whole face").check()
    with changed(page):
        page.locator("#reset").click()
    page.evaluate("document.getElementById('muscles').open = true")
    for unit, value in (("AU01", 0.9), ("AU02", 0.9), ("AU45", 0.8), ("AU45", 0)):
        with changed(page):
            page.locator(f"#unit-{unit}").fill(str(value))
        camera.take(0.8)
    camera.times[-1] = 1600
    camera.save(path)


def screens(page, folder, clip, width):
    page.screenshot(path=folder / f"photo-{width}.png", full_page=True)
    for tab, field in (("video", "#video"), ("drive", "#driver")):
        page.locator(f"#tab-{tab}").click()
        page.set_input_files(field, clip)
        page.locator(f"#{tab}-start").click()
        page.locator(f"#{tab}-job button", has_text="Save MP4").wait_for(timeout=PATIENCE)
        page.screenshot(path=folder / f"{tab}-{width}.png", full_page=True)
    page.locator("#tab-compare").click()
    page.locator("#pair figure:nth-child(2) img[src^=blob]").wait_for(timeout=PATIENCE)
    page.wait_for_timeout(1000)
    page.screenshot(path=folder / f"compare-{width}.png", full_page=True)


def main():
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", default=DEFAULT, help="(%(default)s)")
    made.add_argument("--compare", default="lfw-64", help="the second model (%(default)s)")
    made.add_argument("--film", type=Path, help="a .webp or .gif file")
    made.add_argument("--screens", type=Path, help="a folder for the screenshots")
    args = made.parse_args()
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        made.error(f"none of {', '.join(PROGRAMS)} is installed")
    with contextlib.ExitStack() as stack:
        animators = [
            stack.enter_context(Animator.load(name)) for name in (args.model, args.compare)
        ]
        url = stack.enter_context(app.serving(animators))
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=program, args=FLAGS
        )

        def opened(options):
            context = browser.new_context(**options)
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.goto(url)
            page.wait_for_selector("body[data-ready]")
            page.locator("#after[data-edited=true]").wait_for()
            # The pictures of the expressions come after the edit.
            page.wait_for_function(
                "() => document.querySelector('#expressions button').firstElementChild"
                ".style.backgroundImage"
            )
            page.wait_for_timeout(1000)
            return page

        if args.film:
            film(opened(DESKTOP), args.film)
        if args.screens:
            args.screens.mkdir(parents=True, exist_ok=True)
            clip = args.screens / "clip.mp4"
            frames = animators[0].interpolate(np.asarray(Image.open(PORTRAIT)), {}, "surprised", 6)
            write_moving(clip, frames, fps=6, tags={})
            for options in (DESKTOP, PHONE):
                screens(opened(options), args.screens, clip, options["viewport"]["width"])
        browser.close()


if __name__ == "__main__":
    main()
