"""What the page can be asked for, without its connections: each takes a visitor's key and JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.drivers import is_csv, read_expression
from ganimation_jax.animation.recipes import from_json
from ganimation_jax.web import films, photos, words
from ganimation_jax.web.jobs import Job, Progress
from ganimation_jax.web.photos import Refused, parse_looks
from ganimation_jax.web.visitors import LARGEST_FILE, LARGEST_VIDEO, Visitors

STATIC = Path(__file__).with_name("static")
PORTRAIT = STATIC / "portrait.jpg"
MOST_PREVIEWS = 12
PICTURES = {"png": ("PNG", "image/png"), "jpg": ("JPEG", "image/jpeg"),
            "webp": ("WEBP", "image/webp")}  # fmt: skip


class Desk:
    """Serves the visitors of the page.

    Args:
      animators: the first edits; others are compared with it.
      visitors: their photos and files.
    """

    def __init__(self, animators: Sequence[Animator], visitors: Visitors):
        self._animators, self.visitors = tuple(animators), visitors

    def page(self) -> dict[str, Any]:
        """What the page is made from."""
        units = self._animators[0].action_units
        return {
            "models": [words.about(animator) for animator in self._animators],
            "muscles": words.muscles(units),
            "expressions": words.expressions(units),
            "limits": {
                "photo": LARGEST_FILE,
                "video": LARGEST_VIDEO,
                "steps": films.MOST_STEPS,
                "seconds": films.LONGEST,
                "sides": films.SIDES,
                "preview": photos.PREVIEW_SIDE,
            },
        }

    def open(self, key: str, path: Path) -> dict[str, Any]:
        """Keep a visitor's new photo; the one before stays if this one cannot be used."""
        animator = self._animators[0]
        sitting = photos.sit_down(animator, *photos.read_upload(path, LARGEST_FILE))
        self.visitors.seat(key, sitting)
        return photos.facts(sitting, animator.action_units)

    def view(self, key: str, asked: dict[str, Any]) -> bytes:
        """The edit as the page shows it, by one of the models."""
        sitting = self.visitors.sitting(key)
        looks = parse_looks(asked.get("faces"), len(sitting.photo.faces))
        number = asked.get("model", 0)
        if number not in range(len(self._animators)):
            raise Refused("There is no such model.")
        animator = self._animators[number]
        if number:  # its crops are of another size, and it reads other units
            if number not in sitting.others:
                sitting.others[number] = photos.sit_down(animator, sitting.photo.image)
            sitting = sitting.others[number]
        return photos.view(animator, sitting, looks, bool(asked.get("overlay")))

    def previews(self, key: str, asked: dict[str, Any]) -> bytes:
        """Small pictures of a face."""
        sitting = self.visitors.sitting(key)
        face = self._face(sitting, asked)
        given = asked.get("looks")
        count = len(given) if isinstance(given, list) else 0
        if not 1 <= count <= MOST_PREVIEWS:
            raise Refused(f"From 1 to {MOST_PREVIEWS} previews can be had.")
        return photos.previews(self._animators[0], face, parse_looks(given, count))

    def save(self, key: str, asked: dict[str, Any]) -> tuple[bytes, str]:
        """A file to save, and its media type."""
        sitting, kind = self.visitors.sitting(key), asked.get("kind")
        looks = parse_looks(asked.get("faces"), len(sitting.photo.faces))
        if kind == "json":
            face = self._face(sitting, asked)
            look = looks[asked["face"]]
            return photos.expression_file(self._animators[0], face, look), "application/json"
        if kind not in PICTURES:
            raise Refused(f"A photo is saved as {', '.join(PICTURES)}.")
        form, media = PICTURES[str(kind)]
        return photos.picture(self._animators[0], sitting, looks, form), media

    def expression(self, path: Path) -> dict[str, Any]:
        """The action units of the left and right half in a photo or an expression's file."""
        animator = self._animators[0]
        if path.suffix == ".json":
            left, right = self._read_file(path)
        elif is_csv(path):
            left = right = read_expression(path, animator.action_units)
        else:
            image, _ = photos.read_upload(path, LARGEST_FILE)
            shown = photos.sit_down(animator, image).photo.faces[0].aus
            units = zip(animator.action_units, shown.tolist(), strict=True)
            left = right = {unit: min(max(x, 0), 1) for unit, x in units if x == x}
        known = set(animator.action_units)
        unknown = sorted((left.keys() | right.keys()) - known)
        left, right = ({k: x for k, x in half.items() if k in known} for half in (left, right))
        if not left and not right:
            raise Refused("The file has no action unit that this model knows.")
        return {"left": left, "right": right, "unknown": unknown}

    def film(self, key: str, asked: dict[str, Any]) -> Job:
        """A film of the photo's expressions."""
        sitting, kind, side = self.visitors.sitting(key), asked.get("kind"), asked.get("side")
        films.check_film(kind, side)
        steps = films.parse_steps(asked.get("steps"), len(sitting.photo.faces))

        def make(progress: Progress) -> dict[str, Any]:
            path = self.visitors.place(key, f"edited.{kind}")
            films.photo_film(self._animators[0], sitting, steps, path, int(side or 0), progress)
            return _made(path)

        return make

    def video(self, key: str, asked: dict[str, Any], source: Path) -> Job:
        """A video whose face is edited."""
        (look,) = parse_looks([asked.get("look")], 1)
        kind, side = asked.get("kind", "mp4"), asked.get("side")
        films.check_film(kind, films.SIDES[0] if side is None else side)

        def make(progress: Progress) -> dict[str, Any]:
            path = self.visitors.place(key, f"edited.{kind}")
            films.edited_video(self._animators[0], source, look, path, side, progress)
            return _made(path)

        return make

    def drive(self, key: str, asked: dict[str, Any], source: Path) -> Job:
        """A film of the photo with the expressions of a video."""
        sitting, kind = self.visitors.sitting(key), asked.get("kind", "mp4")
        side = asked.get("side", 640)
        films.check_film(kind, side)

        def make(progress: Progress) -> dict[str, Any]:
            path = self.visitors.place(key, f"driven.{kind}")
            films.driven_photo(self._animators[0], sitting, source, path, side, progress)
            return _made(path)

        return make

    def _read_file(self, path: Path) -> tuple[dict[str, float], dict[str, float]]:
        try:
            return from_json(path.read_bytes())
        except ValueError as error:
            raise Refused(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error

    def _face(self, sitting: photos.Sitting, asked: dict[str, Any]) -> photos.Face:
        number, faces = asked.get("face"), sitting.photo.faces
        if not isinstance(number, int) or number not in range(len(faces)):
            raise Refused("There is no such face.")
        return faces[number]


def _made(path: Path) -> dict[str, Any]:
    return {"file": f"/api/file/{path.parent.name}/{path.name}", "name": path.name}
