import jax.numpy as jnp
import numpy as np

from ganimation_jax.reports import samples
from ganimation_jax.reports.picture_grid import CELL
from ganimation_jax.reports.samples import INTENSITY
from ganimation_jax.types import Condition, Edit


def test_expressions_rise_and_fall():
    conditions = (Condition("AU12"), Condition("AU45"))  # AU12 is part of 'happy' alone

    def edit(image, want, have):  # paints the intensity of AU12
        np.testing.assert_array_equal(have, aus)
        painted = jnp.ones_like(image) * want[:, :1, None, None] * 2 - 1
        return Edit(painted, jnp.zeros((*image.shape[:3], 1)), painted)

    images = np.zeros((2, CELL, CELL, 3), np.uint8)
    aus = np.float32([[0.0, 0.0], [0.4, 0.0]])
    frames = samples.moving_expressions(edit, images, aus, conditions)
    assert len(frames) == 2 * samples.STEPS
    # The cells of 'happy', in the second column, of both faces.
    x = frames[0].shape[1] // 2 + CELL // 2
    first, second = (
        [frame[-y, x, 0] / 255 for frame in frames] for y in (CELL * 3 // 2, CELL // 2)
    )
    share = 1 - np.abs(np.arange(2 * samples.STEPS) / samples.STEPS - 1)
    np.testing.assert_allclose(first, share * INTENSITY, atol=0.01)
    np.testing.assert_allclose(second, 0.4 + share * (INTENSITY - 0.4), atol=0.01)


def test_each_kind_of_condition_has_targets_of_its_own():
    conditions = (
        Condition("Smiling", "binary"),
        Condition("sad", "one_of", "emotion"),
        Condition("angry", "one_of", "emotion"),
        Condition("young", "one_of", "age"),
    )
    have = np.float32([[1, 0, 1, 1], [0, 1, 0, 0]])
    targets = samples.wanted(conditions, have)
    assert {name: target.tolist() for name, target in targets.items()} == {
        "Smiling flipped": [[0, 0, 1, 1], [1, 1, 0, 0]],
        "sad": [[1, 1, 0, 1], [0, 1, 0, 0]],
        "angry": [[1, 0, 1, 1], [0, 0, 1, 0]],
        "young": [[1, 0, 1, 1], [0, 1, 0, 1]],
    }


def test_edits_are_shown_undone_where_the_model_can_undo_them():
    images, shown = np.zeros((1, CELL, CELL, 3), np.uint8), np.float32([[0.0]])

    def edit(image, want, have):
        return Edit(image)

    given = edit, images, shown, (Condition("AU12"),)
    both, alone = samples.expressions(*given), samples.expressions(*given, undo=False)
    assert both.shape[0] - alone.shape[0] >= CELL
