"""Edit many face crops at once, and put the edits into photos."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32, Num, UInt8

from ganimation_jax.animation.finding import Face, as_input
from ganimation_jax.animation.loading import LoadedModel
from ganimation_jax.animation.pasting import paste, spread
from ganimation_jax.animation.photo_like import Pixels
from ganimation_jax.edits import Edit

HALF = 0.16  # of the crop's side, the width over which one half of a face fades into the other


def batch_size() -> int:
    """How many crops are edited at once: the one size that is compiled.

    On a CPU a batch takes as long as its crops one by one, and a single edit must not wait for
    seven others. On an accelerator single crops leave most of it idle.
    """
    return 1 if jax.default_backend() == "cpu" else 8


class Aimed(NamedTuple):
    """A photo, and what its faces have to show."""

    image: Pixels
    faces: Sequence[Face]  # k
    targets: Float32[np.ndarray, "k *half n"]  # [0, 1]; half: 2, left and right, or nothing


class Explanation(NamedTuple):
    """An edit of a photo's largest face, and what it consists of. It shows itself in Jupyter."""

    photo: Pixels
    edited: Pixels  # the photo
    attention: Float32[np.ndarray, "h w"]  # [0, 1]: the share of the photo that is kept
    color: UInt8[np.ndarray, "s s 3"]  # what is painted
    crop: UInt8[np.ndarray, "s s 3"]  # the face as the model sees it
    own: Float32[np.ndarray, " n"]  # [0, 1], what the face shows; NaN where not measured
    aus: Float32[np.ndarray, " n"]  # [0, 1], the expression it was given
    action_units: tuple[str, ...]  # n names

    def _repr_html_(self) -> str:
        from ganimation_jax.animation.notebook import result_html

        return result_html(self)


def edit_faces(
    model: LoadedModel, faces: Sequence[Face], targets: Float32[np.ndarray, "k n"]
) -> Edit:
    """Edits of k faces, at least one, to targets ``k n``; NumPy arrays.

    Crops are edited ``batch_size()`` at once, because JAX compiles each batch size.
    """
    size = batch_size()
    crops, parts = np.stack([face.crop for face in faces]), []
    have = np.nan_to_num(np.stack([face.aus for face in faces]))
    while count := len(crops):
        chosen = np.minimum(np.arange(size), count - 1)  # the last one fills up
        edit = model.edit(as_input(crops[chosen]), targets[chosen], have[chosen])
        parts.append(jax.tree.map(lambda array, n=count: np.asarray(array)[:n], edit))
        crops, targets, have = crops[size:], targets[size:], have[size:]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def edit_halves(
    model: LoadedModel, faces: Sequence[Face], targets: Float32[np.ndarray, "k *half n"]
) -> Edit:
    """Edits of k faces: images, and motion if the model moves pixels; NumPy arrays.

    Args:
      targets: ``k n``; or ``k 2 n``, for the left and the right half of each crop apart. The
        halves blend along the midline between the eyes. A half that is to show what the face
        shows keeps its pixels.
    """
    if targets.ndim == 2:
        return edit_faces(model, faces, targets)
    own = np.stack([face.aus for face in faces])[:, None]
    moves = ~np.isclose(targets, own, rtol=0, atol=1e-6).all(axis=-1)  # k 2
    alike = (targets[:, 0] == targets[:, 1]).all(axis=-1)
    needed = moves & np.stack([np.full(len(faces), True), ~alike], axis=1)
    crops: Any = as_input(np.stack([face.crop for face in faces]))
    if not needed.any():
        return Edit(crops)
    chosen = [faces[place] for place in np.nonzero(needed)[0].tolist()]
    edits = edit_faces(model, chosen, targets[needed])
    size, middle = model.image_size, np.mean([eye[0] for eye in model.eyes])
    share = (((np.arange(size) + 0.5) / size - middle) / HALF + 0.5).clip(0, 1)
    share = (share**2 * (3 - 2 * share)).astype(np.float32)[:, None]

    def blended(unedited: np.ndarray, edited: Any) -> Any:
        halves = unedited[:, None].repeat(2, axis=1)
        halves[needed] = np.asarray(edited)
        halves[alike, 1] = halves[alike, 0]
        return halves[:, 0] + (halves[:, 1] - halves[:, 0]) * share

    motion = None
    if edits.motion is not None:
        motion = blended(np.zeros((*crops.shape[:3], 2), np.float32), edits.motion)
    return Edit(blended(crops, edits.image), motion=motion)


def share_kept(edit: Edit) -> Float32[np.ndarray, "s s"]:
    """The share of the source that the first edit keeps, ``s s``: 0 if the model has no mask."""
    if edit.attention is None:
        return np.zeros(edit.image.shape[1:3], np.float32)
    return np.asarray(edit.attention)[0, ..., 0].clip(0, 1)


def explain_edit(
    model: LoadedModel,
    image: Pixels,
    face: Face,
    target: Float32[np.ndarray, " n"],
) -> Explanation:
    """The edit of one face of a photo, uint8 ``h w 3``, to a target, ``n``, with its parts."""
    edit = edit_faces(model, [face], target[None])
    painted = edit.image if edit.color is None else edit.color
    return Explanation(
        photo=image,
        edited=pasted(image, [face], edit),
        attention=spread(share_kept(edit), face.transform, image.shape[:2], outside=1.0),
        color=levels(np.asarray(painted)[0]).round().clip(0, 255).astype(np.uint8),
        crop=face.crop,
        own=face.aus,
        aus=target,
        action_units=model.action_units,
    )


def edit_photos(model: LoadedModel, wanted: Iterable[Aimed]) -> Iterator[Pixels]:
    """Photos with edited faces, in the order given, each uint8 ``h w 3``.

    Faces of several photos are edited together; photos are taken when their turn comes.
    """
    waiting: list[Aimed] = []
    for one in wanted:
        if sum(len(other.faces) for other in waiting) + len(one.faces) > batch_size():
            yield from _together(model, waiting)
            waiting = []
        waiting.append(one)
    yield from _together(model, waiting)


def _together(model: LoadedModel, wanted: Sequence[Aimed]) -> Iterator[np.ndarray]:
    faces = [face for one in wanted for face in one.faces]
    if not faces:
        yield from (one.image.copy() for one in wanted)
        return
    edits = edit_halves(model, faces, np.concatenate([one.targets for one in wanted]))
    ends = np.cumsum([len(one.faces) for one in wanted])[:-1]
    for one, places in zip(wanted, np.split(np.arange(len(faces)), ends), strict=True):
        yield pasted(one.image, one.faces, jax.tree.map(lambda x, i=places: x[i], edits))


def levels(image: Float[np.ndarray, "*b h w 3"]) -> Float[np.ndarray, "*b h w 3"]:
    """[-1, 1] to [0, 255], not rounded."""
    return (image + 1) * 127.5


def pasted(image: Pixels, faces: Sequence[Face], edits: Edit) -> Pixels:
    """A photo with the edits of its k faces.

    An edit shows as far as ``Face.reach`` lets it.
    """
    for place, face in enumerate(faces):
        after = levels(np.asarray(edits.image)[place])
        reach = np.float32(1) if face.reach is None else face.reach.weight[..., None]
        motion = None if edits.motion is None else np.asarray(edits.motion)[place]
        change = after - (face.crop if motion is None else read_at(face.crop, motion))
        if motion is not None:
            motion = reach * motion
        image = paste(image, reach * change, face.transform, motion)
    return image


def read_at(
    crop: Num[np.ndarray, "s s 3"], motion: Float[np.ndarray, "s s 2"]
) -> Float32[np.ndarray, "s s 3"]:
    """A crop read where the motion says, as ``models.warp`` does: float32 ``s s 3``."""
    places = motion + np.moveaxis(np.indices(crop.shape[:2], np.float32), 0, -1)
    corner = np.floor(places)
    down, right = np.moveaxis(places - corner, -1, 0)[..., None]
    rows, columns = np.moveaxis(corner.astype(int), -1, 0)
    crop = crop.astype(np.float32)

    def along_row(row: np.ndarray) -> np.ndarray:
        here, beside = (
            crop[row.clip(0, len(crop) - 1), column.clip(0, crop.shape[1] - 1)]
            for column in (columns, columns + 1)
        )
        return here + right * (beside - here)

    above = along_row(rows)
    return above + down * (along_row(rows + 1) - above)
