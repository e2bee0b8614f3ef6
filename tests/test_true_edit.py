"""Edits against pictures of the same person that show the target."""

import numpy as np
import pytest
from helpers import flat

from ganimation_jax.evaluation import held_out, suite, true_edit
from ganimation_jax.evaluation.true_edit import Pairs
from ganimation_jax.types import Condition, Edit

RNG = np.random.default_rng(0)
WHO = ["ann", "ann", "bob", "bob", "bob", "eve"]


def pairs(edited=None):
    """The target differs from the source by half in the upper left quarter, and nowhere else."""
    source = RNG.uniform(-0.4, 0.4, (6, 16, 16, 3))
    target = source.copy()
    target[:, :8, :8] += 0.5
    return Pairs(source, target, target if edited is None else edited(source, target), WHO)


def test_the_true_edit_is_perfect_and_no_edit_is_known_in_closed_form():
    scores = flat(true_edit.evaluate(pairs()))
    assert scores["true_edit/psnr"] == scores["true_edit/psnr_changed"] == 100
    assert scores["true_edit/ssim"] == pytest.approx(1)
    # The error is .25 where pixels change, a quarter of that on average; the range is 2.
    assert scores["true_edit/psnr_changed/no_edit"] == pytest.approx(10 * np.log10(4 / 0.25))
    assert scores["true_edit/psnr/no_edit"] == pytest.approx(10 * np.log10(16 / 0.25))
    assert scores["true_edit/psnr/no_edit/se"] == pytest.approx(0, abs=1e-9)


def test_half_of_the_edit_is_six_decibels_better_than_none():
    half = flat(true_edit.evaluate(pairs(lambda source, target: (source + target) / 2)))
    for name in ("psnr", "psnr_changed"):
        gain = half[f"true_edit/{name}"] - half[f"true_edit/{name}/no_edit"]
        assert gain == pytest.approx(20 * np.log10(2))


def test_copies_are_of_another_person():
    found = pairs()
    copies = found.pictures["copy_another"]
    for i, copy in enumerate(copies):
        (origin,) = [j for j in range(6) if np.array_equal(found.target[j], copy)]
        assert WHO[origin] != WHO[i]
    alone = found._replace(persons=["ann"] * 6)
    assert list(alone.pictures) == ["", "no_edit"]


def test_errors_are_those_of_persons_not_of_pictures():
    """Pictures of a person that are all equal say no more than one of them."""
    values = np.array([1.0, 2.0, 4.0])
    one = Pairs(*np.zeros((3, 3, 12, 12, 3)), ["a", "b", "c"])
    many = Pairs(*np.zeros((3, 12, 12, 12, 3)), [who for who in "abc" for _ in range(4)])
    few = flat(true_edit.evaluate_perceived(one, "d", lambda a, b: values))
    more = flat(true_edit.evaluate_perceived(many, "d", lambda a, b: np.repeat(values, 4)))
    assert few["true_edit/d/se"] == pytest.approx(values.std(ddof=1) / 3**0.5)
    assert more["true_edit/d/se"] == pytest.approx(few["true_edit/d/se"])
    # Unequal numbers of pictures, by resampling persons.
    who = np.repeat(np.arange(60), RNG.integers(1, 5, 60))
    shift = RNG.normal(size=60)[who] + RNG.normal(0, 0.3, len(who))
    uneven = Pairs(*np.zeros((3, len(who), 11, 11, 3)), [str(one) for one in who])
    said = flat(true_edit.evaluate_perceived(uneven, "d", lambda a, b: shift))["true_edit/d/se"]
    draws = [
        np.concatenate([shift[who == one] for one in RNG.integers(0, 60, 60)]).mean()
        for _ in range(2000)
    ]
    assert said == pytest.approx(np.std(draws), rel=0.15)


def test_where_nothing_is_to_change_there_is_no_score():
    still = pairs()
    still = still._replace(target=still.source, edited=still.source)
    assert np.isnan(flat(true_edit.evaluate(still))["true_edit/psnr_changed"])


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="5 names do not fit"):
        next(true_edit.evaluate(pairs()._replace(persons=WHO[:5])))
    with pytest.raises(ValueError, match="do not fit together"):
        next(true_edit.evaluate(pairs()._replace(edited=np.zeros((6, 8, 8, 3)))))


@pytest.mark.parametrize("marked", [False, True])
def test_batches_with_another_picture_are_evaluated(marked):
    """Whatever the source; where the loader marks pairs, only these are."""
    found = pairs()
    batch = {"image": found.source, "have": np.zeros((6, 1)), "want": np.ones((6, 1))}
    batch["other"] = found.target.copy()
    if marked:
        batch["paired"] = np.array([True] * 4 + [False] * 2)
        batch["other"][4:] = RNG.uniform(-1, 1, (2, 16, 16, 3))  # somebody else

    def edit(image, want, have):  # as the truth has it: up where asked, down where undone
        return Edit(
            np.asarray(image)
            + np.where(np.indices((16, 16)).max(0) < 8, 0.5, 0)[..., None]
            * np.asarray(want - have)[:, :, None, None]
        )

    seen = held_out.look([batch], edit, None)
    faces = [{"person": who} for who in WHO]
    sections = {
        one.name: one
        for one in suite.quick(held_out.Subject(seen, faces, (Condition("x"),), edit, None))
    }
    scores = flat(sections["true_edit"].scores)
    assert scores["true_edit/psnr"] > 90
    assert "true_edit/psnr/copy_another" in scores
    # Scores of an attention mask and of a reader only for models that have them.
    assert set(sections) == {"pixels", "true_edit"}
