"""Editing with models that know labels: what is asked for, and what they cannot do."""

import functools

import numpy as np
import pytest
from PIL import Image

from ganimation_jax.animation import cli, finding, labels
from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.loading import LoadedModel
from ganimation_jax.faces.crops import CANONICAL_EYES
from ganimation_jax.types import Condition, Edit

EMOTION = tuple(Condition(name, "one_of", "emotion") for name in ("happy", "neutral", "sad"))
MIXED = (*EMOTION, Condition("Smiling", "binary"), Condition("AU12"), Condition("AU04"))
FACTS = {"image_size": 32, "eyes": CANONICAL_EYES, "grey": False, "needs_have": False}
GREY = np.full((32, 32, 3), 100, np.uint8)


def animator_of(conditions, read=None):
    """An edit adds 1, 10 and 100 levels for the first three values."""

    def brighten(image, want, have):
        change = want[:, :3] @ np.array([1, 10, 100], np.float32)[: want.shape[1]] / 127.5
        return Edit(image + change[:, None, None, None])

    read_aus = read and (lambda image: np.array([read], np.float32))
    facts = {**FACTS, "edit": brighten, "read_aus": read_aus, "sha256": "0", "about": {}}
    return Animator(LoadedModel("toy", conditions, **facts))


@pytest.mark.parametrize(
    ("asked", "level"), [("happy", 1), ("sad", 100), ({"sad": 1}, 100), ({"neutral": 1.0}, 10)]
)
@pytest.mark.parametrize("read", [None, [0.1, 0.7, 0.2]])
def test_one_label_of_a_group_takes_the_place_of_the_others(asked, level, read):
    edited = animator_of(EMOTION, read).edit(GREY, asked, aligned=True)
    np.testing.assert_array_equal(edited, 100 + level)


def test_a_label_leaves_other_conditions_alone():
    animator = animator_of(MIXED, [0, 1, 0, 0.75, 0.5, 0.25])
    faces = animator.find(GREY, aligned=True)
    for asked, want in {
        "sad": [0, 0, 1, 0.75, 0.5, 0.25],
        "angry": [0, 1, 0, 0.75, 0, 0.9],  # a basic emotion, of the action units there are
    }.items():
        np.testing.assert_allclose(animator.targets(faces, [asked])[0, 0], want, atol=1e-6)
    smiling = animator.targets(faces, [{"Smiling": 0, "AU12": 0.3}])
    np.testing.assert_allclose(smiling[0, 0], [0, 1, 0, 0, 0.3, 0.25], atol=1e-6)


def test_the_labels_of_another_photo_are_decided():
    assert labels.decided(
        {"happy": 0.4, "neutral": 0.35, "sad": 0.25, "Smiling": 0.6, "AU12": 0.2}, MIXED
    ) == {"happy": 1, "neutral": 0, "sad": 0, "Smiling": 1, "AU12": 0.2}
    edited = animator_of(EMOTION, [0.2, 0.3, 0.5]).transfer(GREY, GREY, aligned=True)
    np.testing.assert_array_equal(edited, 200)


@pytest.fixture
def command(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganimation_jax.animation.starting.keep_compiled", lambda config: None)
    monkeypatch.setattr("ganimation_jax.animation.starting.block_reports", lambda: None)
    Image.fromarray(GREY).save("a.png")

    def run(animator, *words):
        monkeypatch.setattr(Animator, "load", lambda *_, **__: animator)
        return cli.main(["a.png", "-o", "out.png", "--model", "toy", "--aligned", *words])

    return run


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (["--attribute", "sad=1"], 100),
        (["--attribute", "Happy=1"], 1),
        (["--expression", "neutral"], 10),
    ],
)
def test_the_command_knows_labels(command, words, level):
    assert command(animator_of(EMOTION), *words) == 0
    with Image.open("out.png") as file:
        np.testing.assert_array_equal(np.asarray(file), 100 + level)
        assert all(f"{one.name}=" in str(file.info) for one in EMOTION)


UNREAD = animator_of(EMOTION)
READ = animator_of(EMOTION, [0, 1, 0])
SINGLE = animator_of((Condition("Smiling", "binary"),))


@pytest.mark.parametrize(
    ("animator", "words", "says"),
    [
        (UNREAD, "--expression surprised", "no expression 'surprised'; it has happy neutral sad"),
        (UNREAD, "--expression happy --intensity 0.5", "happy is a label of this model, which has"),
        (UNREAD, "--attribute happy=0.5", "happy=0.5: happy is a label, which is 0 or 1"),
        (UNREAD, "--attribute happy=0", "happy=0: name what the face is to show instead, of neutr"),
        (UNREAD, "--attribute happy=1 --attribute sad=1", "a face shows one of happy and sad"),
        (UNREAD, "--attribute happy", "'happy' is not of the form happy=1"),
        (UNREAD, "--attribute hapy=1", "this model has no 'hapy'; it has happy neutral sad; did "),
        (UNREAD, "--au AU12=1", "this model has no AU12"),
        (UNREAD, "--attribute happy=1 --relative", "happy is a label: it is set, and --relative"),
        (UNREAD, "--from a.png", "happy neutral sad are labels, which MediaPipe does not read"),
        (READ, "--from a.png --by annotator", "happy neutral sad are labels, which MediaPipe"),
        (SINGLE, "--expression happy", "this model has no expression 'happy'; it has Smiling"),
    ],
)
def test_what_labels_cannot_do_is_said(command, capsys, animator, words, says):
    assert command(animator, *words.split()) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1


def test_photos_are_not_read_for_labels_that_the_model_does_not_read(monkeypatch):
    monkeypatch.setattr(finding, "Landmarker", functools.partial(pytest.fail, "opened MediaPipe"))
    (face,) = animator_of(EMOTION).find(GREY, aligned=True)
    np.testing.assert_array_equal(face.aus, 0)
