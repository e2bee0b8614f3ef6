"""The page's server without a browser: photos, expressions, films."""

import json

import numpy as np
import pytest
from PIL import Image
from sitting import UNITS, seated

from ganimation_jax.animation.animator import Face
from ganimation_jax.animation.recipes import Look, Recipe
from ganimation_jax.animation.targets import PRESETS
from ganimation_jax.faces.alignment import crop
from ganimation_jax.web import films, photos, words
from ganimation_jax.web.desk import Desk
from ganimation_jax.web.photos import Photo, Refused, parse_looks, read_upload
from ganimation_jax.web.visitors import Visitors

RNG = np.random.default_rng(0)
HAPPY = {"target": {"AU12": 1.0}, "strength": 0.5, "moved": {}}


# Photos


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(1001))
    with pytest.raises(Refused, match="larger than"):
        read_upload(path, 1000)


def test_a_large_photo_is_reduced_with_its_faces(monkeypatch, tmp_path):
    monkeypatch.setattr(photos, "PHOTO_SIDE", 100)
    path = tmp_path / "a.png"
    Image.new("RGB", (200, 150)).save(path)
    image, remark = read_upload(path, 10**6)
    assert image.shape == (75, 100, 3)
    assert "100 x 75" in remark


def test_a_reduced_photo_has_its_faces_in_the_same_places():
    ramp = np.linspace(0, 255, 600, dtype=np.float32)
    image = np.stack([np.add.outer(ramp, ramp) / 2] * 3, axis=-1).astype(np.uint8)
    transform = np.array([[0.1, 0.02, 3.0], [-0.02, 0.1, 9.0]])
    one = Face(crop(image, transform, 64), transform, (10, 20, 400, 500), np.zeros(17))
    small = Photo(image[:, :-9], (one,)).within(150)
    assert small.image.shape == (150, 148, 3)
    (less,) = small.faces
    off = crop(small.image, less.transform, 64).astype(float) - one.crop
    assert np.abs(off[8:-8, 8:-8]).mean() < 4
    np.testing.assert_allclose(less.box, np.array(one.box) / 4, rtol=0.01)
    assert Photo(image, (one,)).within(600).faces == (one,)


@pytest.mark.parametrize(
    "faces",
    [
        None,
        [],
        [None, None],
        [{}],
        ["happy"],
        [{"left": HAPPY}],
        [{"left": HAPPY, "right": {**HAPPY, "strength": 1.6}}],
        [{"left": HAPPY, "right": {**HAPPY, "strength": "1"}}],
        [{"left": HAPPY, "right": {**HAPPY, "target": [1]}}],
        [{"left": HAPPY, "right": {**HAPPY, "moved": {"AU12": float("nan")}}}],
        [{"left": HAPPY, "right": {**HAPPY, "moved": {"AU12": -1.5}}}],
    ],
)
def test_what_is_no_expression_of_one_face(faces):
    with pytest.raises(Refused):
        parse_looks(faces, 1)


def test_looks_are_read():
    moved = {"moved": {"AU01": -0.5}}
    asked, not_asked = parse_looks([{"left": HAPPY, "right": moved}, None], 2)
    assert asked == Look(Recipe({"AU12": 1.0}, 0.5, {}), Recipe({}, 1.0, {"AU01": -0.5}))
    assert not not_asked.asks()


def test_only_faces_that_are_asked_for_are_edited():
    animator, sitting, batches = seated()
    looks = [Look(), Look(Recipe({"AU01": 1.0}, 0.5), Recipe({"AU01": 1.0}, 0.5))]
    image = photos.edited(animator, sitting.photo, looks)
    assert batches == [1]
    np.testing.assert_array_equal(image[:, :64], sitting.photo.image[:, :64])
    # 0.2 becomes 0.6; the second unit is half of 10 levels.
    assert image[32, 96, 0] - int(sitting.photo.image[32, 96, 0]) == 65
    assert photos.edited(animator, sitting.photo, [Look(), Look()]) is sitting.photo.image


def test_the_desk_serves_views_files_and_facts(tmp_path):
    animator, sitting, _ = seated()
    guests = Visitors(tmp_path)
    desk = Desk([animator], guests)
    with guests.visiting("a"):
        guests.seat("a", sitting)
        assert desk.view("a", {"faces": [None, None]})[:2] == b"\xff\xd8"
        content, media = desk.save(
            "a", {"kind": "json", "face": 0, "faces": [{"left": HAPPY, "right": HAPPY}, None]}
        )
        assert media == "application/json"
        assert json.loads(content)["action_units"] == {"AU01": 0.2, "AU04": 0.5, "AU12": 0.75}
        for asked, says in (
            ({"kind": "png", "faces": [None, None]}, "Nothing is edited"),
            ({"kind": "exe", "faces": [None, None]}, "saved as"),
            ({"kind": "json", "face": 2, "faces": [None, None]}, "no such face"),
            ({"kind": "json", "face": "0", "faces": [None, None]}, "no such face"),
        ):
            with pytest.raises(Refused, match=says):
                desk.save("a", asked)
        with pytest.raises(Refused, match="no such model"):
            desk.view("a", {"faces": [None, None], "model": 1})
        with pytest.raises(Refused, match="previews"):
            desk.previews("a", {"face": 0, "looks": []})
    facts = photos.facts(sitting, animator.action_units)
    assert facts["faces"][1]["box"] == [0.5, 0, 1, 1]
    assert facts["faces"][0]["own"] == {"AU01": 0.2, "AU04": 0.5, "AU12": 0.5}
    page = desk.page()
    assert [one["label"] for one in page["muscles"]] == [words.PLAIN[unit] for unit in UNITS]
    able = {name for name, parts in PRESETS.items() if set(parts) & set(UNITS)}
    assert set(page["expressions"]) == {*able, "neutral"}
    assert page["expressions"]["happy"]["AU12"] == PRESETS["happy"]["AU12"]
    json.dumps(page)


def test_expressions_come_from_files(tmp_path):
    desk = Desk([seated()[0]], Visitors(tmp_path))
    path = tmp_path / "a.csv"
    path.write_text("AU12_r,AU45_r,confidence,success\n5,1,1,1\n")
    assert desk.expression(path) == {"left": {"AU12": 1.0}, "right": {"AU12": 1.0}, "unknown": []}
    path = tmp_path / "a.json"
    path.write_text('{"ganimation_expression": 1, "action_units": {"AU12": 1, "AU45": 0.5}}')
    assert desk.expression(path)["unknown"] == ["AU45"]
    path.write_text('{"ganimation_expression": 1, "action_units": {"AU45": 0.5}}')
    with pytest.raises(Refused, match="no action unit that this model knows"):
        desk.expression(path)
    path.write_text("{")
    with pytest.raises(Refused, match="not JSON"):
        desk.expression(path)


def test_names_that_are_no_action_units_have_words():
    units = ("Mouth_Open", "AU12")
    assert [one["label"] for one in words.muscles(units)] == ["Smile", "Mouth Open"]


# Films


def test_a_film_moves_rests_and_comes_back():
    own, happy, sad = (np.array([[[x]]]) for x in (0.2, 1.0, 0.0))
    path = films.path_of(own, [(happy, 1.0), (sad, 0.5)])[:, 0, 0, 0]
    rest, rate = round(films.REST * films.RATE), films.RATE
    assert len(path) == rest + rate + rate // 2 + round(films.BACK * rate)
    assert (path[:rest] == 0.2).all()
    rise = path[rest - 1 : rest + round(films.MOVING * rate)]
    assert (np.diff(rise) > 0).all()
    assert rise[-1] == 1
    assert (path[rest + round(films.MOVING * rate) : rest + rate] == 1).all()
    assert path[rest + rate + rate // 2 - 1] == 0
    assert path[-1] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "steps",
    [
        None,
        [],
        [{"faces": [None, None], "seconds": 1}] * 9,
        [{"faces": [None, None], "seconds": 6}],
        [{"faces": [None, None], "seconds": float("nan")}],
        [{"faces": [None, None]}],
        [{"faces": [None], "seconds": 1}],
        ["sad"],
    ],
)
def test_what_is_no_timeline(steps):
    with pytest.raises(Refused):
        films.parse_steps(steps, 2)


def test_a_film_at_rest_is_not_edited_again(tmp_path):
    animator, sitting, batches = seated()
    look = Look(Recipe({"AU01": 1.0}, 0.5), Recipe({"AU01": 1.0}, 0.5))
    seen = []
    path = tmp_path / "a.gif"
    films.photo_film(
        animator,
        sitting,
        [films.Step([look, Look()], 1.0)],
        path,
        320,
        lambda *done: seen.append(done),
    )
    total = round((films.REST + 1 + films.BACK) * films.RATE)
    assert seen == [(number, total) for number in range(1, total + 1)]
    assert len(batches) < total - films.REST * films.RATE
    with Image.open(path) as film:
        first = np.asarray(film.convert("RGB")).astype(int)
        film.seek(film.n_frames // 2)
        middle = np.asarray(film.convert("RGB")).astype(int)
    assert np.abs(first - sitting.photo.image).mean() < 12
    np.testing.assert_allclose((middle - first)[20:44, 20:44].mean(), 65, atol=6)
    np.testing.assert_allclose((middle - first)[:, 66:].mean(), 0, atol=3)
    with pytest.raises(Refused, match="Nothing is edited"):
        films.photo_film(
            animator, sitting, [films.Step([Look(), Look()], 1.0)], path, 320, lambda *_: None
        )
