"""Compares edits of synthetic faces with the true edit: the same person drawn with the target.

Each score is reported with two trivial baselines: 'no edit' returns the source, and 'copy
target' returns the target expression on another person's face. A useful edit is closer to the
truth than both.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ganimation_jax.action_units import OPENFACE_MAXIMUM, positions
from ganimation_jax.evaluation import quality
from ganimation_jax.evaluation.agreement import agreement
from ganimation_jax.evaluation.fit import fit_aus
from ganimation_jax.evaluation.judges import Judge
from ganimation_jax.evaluation.means import mean
from ganimation_jax.evaluation.scores import HIGHER, Scores
from ganimation_jax.synthetic.drawn_face import render
from ganimation_jax.synthetic.drawn_person import Identity
from ganimation_jax.synthetic.faces import SyntheticFaces

FITTED = 32  # faces to fit action units to: 0.65 s each at 64 pixels, 1.2 s at 128


class Truth(NamedTuple):
    """The first b faces of a source and their true edits. Images are float32 in [-1, 1]."""

    identities: tuple[Identity, ...]
    aus: np.ndarray  # b 17, shown in `image`
    target_aus: np.ndarray  # b 17; the face's own value for units that the run does not control
    image: np.ndarray  # b h h 3
    target: np.ndarray  # b h h 3, the true edit
    copy: np.ndarray  # b h h 3, the target expression on the next face
    changed: np.ndarray  # b h h, where image and target differ visibly


def of(
    faces: SyntheticFaces, action_units: Sequence[str], target_aus: Float[np.ndarray, "b n"]
) -> Truth:
    """Draw the true edits of the first faces, in the order of ``evaluation_batches``.

    Args:
      faces: source of at least two faces.
      action_units: the action units of the run.
      target_aus: in [0, 1], the targets of faces 0 to b - 1.

    Raises:
      ValueError: there are fewer faces than targets, or only one face.
    """
    count = len(target_aus)
    if len(faces) < max(count, 2):
        raise ValueError(f"{count} targets for {len(faces)} faces: need as many, and two at least")
    shown = [faces[i] for i in range(count)]
    aus = np.stack([face["aus"] for face in shown]) / np.float32(OPENFACE_MAXIMUM)
    wanted = aus.copy()
    wanted[:, positions(action_units)] = target_aus
    identities = tuple(faces.identity(i) for i in range(count))
    others = [faces.identity((i + 1) % len(faces)) for i in range(count)]

    def drawn(people: Sequence[Identity]) -> np.ndarray:
        pairs = zip(people, wanted, strict=True)
        return _floats([render(who, expression, faces.image_size) for who, expression in pairs])

    image, target = _floats([face["image"] for face in shown]), drawn(identities)
    changed = quality.visible_change(image, target)
    return Truth(identities, aus, wanted, image, target, drawn(others), changed)


def evaluate(
    truth: Truth,
    image: Float[np.ndarray, "b h h 3"],
    edited: Float[np.ndarray, "b h h 3"],
    attention: Float[np.ndarray, "b h h 1"] | None,
) -> Scores:
    """Measure the pixel error of edits and the overlap of attention with the true change.

    Args:
      image: the source images, equal to those of ``truth``.
      edited: the edits.
      attention: in [0, 1], the weight of the source image; None if the model has
        no attention.

    Yields:
      ``truth/psnr`` and ``ssim`` against the true edit, and ``psnr_changed`` over the pixels
      that the true edit changes, each with the baselines "no_edit" and "copy_target".
      ``attention_iou``, the overlap of the mostly repainted pixels with the changed ones, with
      the baseline "everything". All are means over faces. A face without a true change has no
      ``psnr_changed``; if nothing is repainted either, it has no IoU.

    Raises:
      ValueError: ``image`` differs from the image of ``truth``.
    """
    if image.shape != truth.image.shape or np.abs(image - truth.image).max() > 1e-3:
        raise ValueError("the edited faces are not those whose true edits were drawn")
    pictures = {"": edited, "no_edit": image, "copy_target": truth.copy}
    for baseline, picture in pictures.items():
        measures = {
            "psnr": quality.psnr(picture, truth.target),
            "psnr_changed": quality.psnr_within(picture, truth.target, truth.changed),
            "ssim": quality.ssim(picture, truth.target),
        }
        for name, values in measures.items():
            yield mean("truth", name, values, baseline=baseline, better=HIGHER)
    if attention is None:
        return
    painted = 1 - attention[..., 0] > 0.5
    masks = {"": painted, "everything": np.ones_like(truth.changed)}
    for baseline, mask in masks.items():
        overlap = _iou(mask, truth.changed)
        yield mean("truth", "attention_iou", overlap, baseline=baseline, better=HIGHER)


def evaluate_aus(
    truth: Truth, edited: np.ndarray, action_units: Sequence[str], fitted: int = FITTED
) -> Scores:
    """Compare action units fitted to the edits with the target (group ``truth_on_edits``).

    Args:
      edited: ``b h h 3``.
      action_units: the action units of the run.
      fitted: number of faces to fit, from the first. Each fit draws about 250 faces.

    Yields:
      The scores of ``agreement``, and the means of ``mae``, ``r`` and ``icc`` for the
      baselines. Baselines need no fit: "no_edit" shows the face's own units, "copy_target"
      exactly the target.
    """
    columns, fitted = positions(action_units), min(fitted, len(edited))
    own, wanted = truth.aus[:fitted, columns], truth.target_aus[:fitted, columns]
    read = judge(truth, action_units).read(edited[:fitted])
    yield from agreement("truth_on_edits", action_units, read, wanted)
    for baseline, shown in (("no_edit", own), ("copy_target", wanted)):
        for score in agreement("truth_on_edits", action_units, shown, wanted):
            if not score.unit and score.name != "unread":
                yield score._replace(baseline=baseline)


def judge(truth: Truth, action_units: Sequence[str]) -> Judge:
    """Return a judge that fits edits of the first faces of ``truth``, given in order.

    Each fit starts from the face's own units.
    """
    columns = positions(action_units)

    def read(images: np.ndarray) -> np.ndarray:
        first = slice(len(images))
        faces = zip(images, truth.identities[first], truth.aus[first], strict=True)
        return np.stack([fit_aus(image, who, own)[columns] for image, who, own in faces])

    return Judge("truth", read, dict.fromkeys(action_units, "good"))


def _floats(images: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(images).astype(np.float32) / 127.5 - 1


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of masks; NaN if both are empty. b h w -> b."""
    union = (a | b).sum(axis=(1, 2))
    both = (a & b).sum(axis=(1, 2))
    return np.divide(both, union, out=np.full(len(a), np.nan), where=union > 0)
