"""The web page, as people use it: edits, films, videos."""

import numpy as np
import pytest
from browser_page import (
    choose,
    difference,
    drop,
    face,
    full,
    missing,
    move,
    own,
    picture,
    result,
    said,
    shows,
    two_faces,
    visit,
)
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation.provenance import NOTICE, read_provenance
from ganimation_jax.animation.recipes import Recipe, from_json
from ganimation_jax.web.desk import PORTRAIT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("fresh"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]


# The page


def test_it_opens_with_a_portrait_that_is_edited(browser, page_url, page_animator):
    with visit(browser, page_url) as page:
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


def test_expressions_have_a_strength(page, page_animator):
    choose(page, "surprised")
    shows(page, result(page_animator, Recipe(full("surprised"), 1.0)))
    page.locator("#strength").fill("30")
    shows(page, result(page_animator, Recipe(full("surprised"), 0.3)))
    page.locator("#strength").fill("150")
    shows(page, result(page_animator, Recipe(full("surprised"), 1.5)))
    page.locator("#strength").fill("0")
    shows(page, np.asarray(face()))


def test_muscles_start_where_the_face_is_and_add_to_an_expression(page, page_animator):
    one = own(page_animator)
    page.evaluate("document.getElementById('muscles').open = true")
    values = [float(page.locator(f"#unit-{unit}").input_value()) for unit in ACTION_UNITS]
    np.testing.assert_allclose(values, one.aus, atol=0.011)
    assert 0 < sum(values) < len(ACTION_UNITS)
    for value in (0.1, 0.9, 0.3, 0.7):
        move(page, "AU12", value)
    by = 0.7 - float(one.aus[ACTION_UNITS.index("AU12")])
    shows(page, result(page_animator, Recipe(moved={"AU12": by})))
    choose(page, "sad")
    sad = Recipe(full("sad"), 1.0)
    shows(page, result(page_animator, sad))
    shown = float(sad.values(one.aus, ACTION_UNITS)[ACTION_UNITS.index("AU12")])
    move(page, "AU12", 0.9)
    shows(page, result(page_animator, sad._replace(moved={"AU12": 0.9 - shown})))
    tooltip = page.locator(".slider", has=page.locator("#unit-AU12")).get_attribute("title")
    assert tooltip == "AU12, lip corner puller: zygomaticus major"


def test_each_change_can_be_undone_and_done_again(page, page_animator):
    sad, angry = (result(page_animator, Recipe(full(name), 1.0)) for name in ("sad", "angry"))
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


def test_the_halves_of_a_face_are_edited_apart(page, page_animator):
    page.get_by_label("Left half").check()
    choose(page, "surprised")
    want = result(page_animator, Recipe(full("surprised"), 1.0), Recipe())
    shows(page, want)
    whole = result(page_animator, Recipe(full("surprised"), 1.0))
    transform = own(page_animator).transform
    middle = round((0.4985 * 32 - transform[0, 2]) / transform[0, 0])
    quarter = round(12 / transform[0, 0])
    # Beyond the blend the left is the whole edit, and the right the photo itself.
    photo = np.asarray(face())
    np.testing.assert_array_equal(want[:, : middle - quarter], whole[:, : middle - quarter])
    np.testing.assert_array_equal(want[:, middle + quarter :], photo[:, middle + quarter :])
    assert difference(want[:, : middle - quarter], photo[:, : middle - quarter]) > 0.05


def test_three_ways_to_see_an_edit(page, page_animator):
    choose(page, "happy")
    shows(page, result(page_animator, Recipe(full("happy"), 1.0)))
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


def test_several_faces_keep_their_own_expressions(browser, page_url, page_animator):
    photo = two_faces()
    both = page_animator.find(np.asarray(photo), "all")
    with visit(browser, page_url) as page:
        drop(page, photo)
        said(page, "2 faces were found", role="status")
        page.locator("#after[data-edited=false]").wait_for()
        choose(page, "sad")
        page.get_by_label("Edit face 2").click()
        assert page.locator("#expressions [aria-pressed=true]").count() == 0
        choose(page, "happy")
        rows = [
            Recipe(full(name), 1.0).values(one.aus, page_animator.action_units)
            for name, one in zip(("sad", "happy"), both, strict=True)
        ]
        shows(page, page_animator.with_faces(np.asarray(photo), both, rows))


def test_expressions_from_photos_and_files(page, page_animator, tmp_path):
    other = face(person=3, smile=1)
    theirs = dict(zip(ACTION_UNITS, own(page_animator, other).aus.tolist(), strict=True))
    page.evaluate("document.getElementById('elsewhere').open = true")
    page.get_by_role("radio", name="Mouth").check(force=True)
    drop(page, other, into="#donor")
    mouth = ("AU09", "AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23", "AU25", "AU26")
    recipe = Recipe({unit: theirs[unit] for unit in mouth}, 1.0)
    shows(page, result(page_animator, recipe))
    with page.expect_download() as download:
        page.locator("#save-expression").click()
    saved = tmp_path / "expression.json"
    download.value.save_as(saved)
    left, right = from_json(saved.read_bytes())
    values = recipe.values(own(page_animator).aus, ACTION_UNITS)
    np.testing.assert_allclose(list(left.values()), values, atol=1e-4)
    assert left == right
    page.locator("#reset").click()
    drop(page, saved.read_bytes(), into="#load-expression", name="smile.json")
    shows(page, result(page_animator, recipe))
    assert page.locator("#strength").input_value() == "100"
    drop(page, b"{}", into="#load-expression", name="x.json")
    said(page, "This is not an expression file")
    drop(page, b"AU12_r,AU04_r,confidence,success\n5,0,1,1\n", into="#donor", name="one.csv")
    said(page, "takes the expression of one.csv", role="status")


def test_a_photo_is_saved_and_says_what_it_is(page, page_animator, page_run, tmp_path):
    page.locator("#save").click()
    said(page, "Nothing is edited yet")
    choose(page, "happy")
    with page.expect_download() as download:
        page.locator("#save").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    told = read_provenance(path)
    assert (told.notice, told.model, told.sha256) == (
        NOTICE,
        page_run.name,
        page_animator.model.sha256,
    )
    want = result(page_animator, Recipe(full("happy"), 1.0))
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), want)


def test_films_go_through_the_timeline(page, page_animator, tmp_path):
    page.evaluate("document.getElementById('timeline').open = true")
    choose(page, "sad")
    shows(page, result(page_animator, Recipe(full("sad"), 1.0)))
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
    want = [result(page_animator, Recipe(full(name), 1.0)) for name in ("sad", "happy")]
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


def test_models_are_compared(page, page_animator):
    choose(page, "angry")
    page.locator("#tab-compare").click()
    want = result(page_animator, Recipe(full("angry"), 1.0))
    for number in (1, 2):
        shows(page, want, name=f"#pair figure:nth-child({number}) img")
    page.locator("#tab-photo").click()
