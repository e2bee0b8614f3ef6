"""The page itself: its components, its look and its events. ``app`` passes Gradio in."""

import html
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.animation.animator import Animator, NoFaceError
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.web.photos import (
    expression_values,
    own_values,
    save_film,
    save_picture,
    save_view,
    sit_down,
    take_upload,
)
from ganimation_jax.web.visitors import Refused, Sitting, Visitors

REGIONS = ("brow", "eye", "cheek", "nose", "mouth", "chin")
OWN = "own expression"
LARGEST, ALL = "largest face", "all faces"
LARGE, SMALL = 300, 52  # pixels: the height of the drop area before and after the first photo
WAITING = 16  # requests in the queue
HELLO = "Drop a photo with a face in it, or click to choose one."
NO_FACE = "No face was found. Choose a photo with a larger face, seen from the front."
UNREADABLE = "This file is not a picture that can be read: try a JPEG or PNG."
# The page shows problems that a visitor can solve. Everything else is a bug and is logged.
PROBLEMS = (Refused, UnusableFile, NoFaceError, ImportError)
# Makes the browser save the file.
SAVE = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")

CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")

Updates = dict[Any, Any]  # components' new values


class Parts(NamedTuple):
    """The components that events read or change."""

    photo: Any
    status: Any
    view: Any
    faces: Any
    overlay: Any
    saves: dict[str, Any]  # buttons, by the ending of the file
    saved: Any
    presets: dict[str, Any]  # buttons, by name
    donor: Any
    sliders: list[Any]  # in the order of the model's action units


def build(gr: ModuleType, animator: Animator, visitors: Visitors) -> Any:
    """The page as ``gradio.Blocks``, not served yet."""
    with gr.Blocks(title="ganimation_jax", analytics_enabled=False) as page:
        parts = lay_out(gr, animator)
        connect(gr, parts, Desk(gr, animator, visitors, parts))
        page.unload(_with_request(gr, lambda request: visitors.leave(str(request.session_hash))))
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def lay_out(gr: ModuleType, animator: Animator) -> Parts:
    """Place the components."""
    gr.HTML(heading(animator), elem_id="head")
    with gr.Row(elem_id="work"):
        with gr.Column(elem_id="stage", scale=6, min_width=320):
            photo = gr.File(label="Photo", file_types=["image"], height=LARGE, elem_id="photo")
            status = gr.HTML(_note(HELLO), elem_id="status")
            view = gr.ImageSlider(
                label="before and after",
                show_label=False,
                visible=False,
                interactive=False,
                buttons=["fullscreen"],
                max_height=520,
                elem_id="view",
            )
            with gr.Row(elem_id="under"):
                overlay = gr.Checkbox(
                    label="show where the model paints", container=False, elem_id="overlay"
                )
                faces = gr.Radio(
                    [LARGEST, ALL], value=LARGEST, visible=False, container=False, elem_id="faces"
                )
                saves = {
                    kind: gr.Button(f"save {kind.upper()}", size="sm", elem_id=f"save-{kind}")
                    for kind in ("png", "gif", "mp4")
                }
            saved = gr.File(visible="hidden", elem_id="saved")
        with gr.Column(elem_id="controls", scale=5, min_width=320):
            with gr.Row(elem_id="presets"):
                presets = {
                    name: gr.Button(name, size="sm", min_width=70)
                    for name in (*expression_values(animator.action_units), OWN)
                }
                donor = gr.UploadButton(
                    "from another photo", file_types=["image"], size="sm", elem_id="donor"
                )
            sliders = lay_out_sliders(gr, animator.action_units)
    gr.HTML(footing(), elem_id="foot")
    return Parts(photo, status, view, faces, overlay, saves, saved, presets, donor, sliders)


def lay_out_sliders(gr: ModuleType, units: Sequence[str]) -> list[Any]:
    """A slider for each action unit, by region of the face; in the order of ``units``."""
    sliders = {}
    for region in REGIONS:
        present = [unit for unit in ANATOMY if unit.region == region and unit.code in units]
        if not present:
            continue
        gr.HTML(f"<h2>{region}</h2>", elem_classes="region")
        with gr.Row(elem_classes="units"):
            for unit in present:
                sliders[unit.code] = gr.Slider(
                    0,
                    1,
                    0,
                    step=0.01,
                    label=f"{unit.code} {unit.action}",
                    info=unit.muscles,
                    buttons=[],
                    min_width=100,
                    elem_id=unit.code,
                    elem_classes="unit",
                )
    return [sliders[code] for code in units]


def connect(gr: ModuleType, parts: Parts, desk: "Desk") -> None:
    """Connect components to events. One event is served at a time, for all visitors."""

    def on(
        triggers: Sequence[Any],
        function: Callable[..., Updates],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        live: bool = False,
    ) -> Any:
        def answer(request: Any, *values: Any) -> Updates:
            try:
                return function(str(request.session_hash), *values)
            except PROBLEMS as problem:
                return {parts.status: _problem(problem)}

        return gr.on(
            triggers,
            _with_request(gr, answer),
            list(inputs),
            [parts.status, *outputs],
            # While a slider is dragged, each edit is followed by one at its latest position.
            trigger_mode="always_last" if live else "once",
            show_progress="hidden" if live else "minimal",
            show_progress_on=parts.status,
            preprocess=False,  # uploads as they are, not decoded
            concurrency_limit=1,
            concurrency_id="model",
            api_visibility="private",
        )

    look = [parts.faces, parts.overlay]
    edit = [parts.view, *parts.sliders]
    fresh = [parts.photo, parts.faces, *edit]
    on([parts.photo.upload], desk.open, [parts.photo, parts.overlay], fresh)
    moved = [part.input for part in (*parts.sliders, *look)]
    on(moved, desk.edit, [*look, *parts.sliders], [parts.view], live=True)
    for name, button in parts.presets.items():
        on([button.click], partial(desk.preset, name), look, edit)
    on([parts.donor.upload], desk.transfer, [parts.donor, *look], edit)
    for kind, button in parts.saves.items():
        inputs = [parts.faces, *parts.sliders]
        made = on([button.click], partial(desk.save, kind), inputs, [parts.saved])
        made.then(None, parts.saved, js=SAVE, api_visibility="private")


class Desk:
    """The events: each takes a visitor's key and inputs, and returns the changed components."""

    def __init__(self, gr: ModuleType, animator: Animator, visitors: Visitors, parts: Parts):
        self._gr, self._animator, self._visitors, self._parts = gr, animator, visitors, parts
        self._expressions = expression_values(animator.action_units)

    def open(self, key: str, upload: dict[str, Any], overlay: bool) -> Updates:
        """A photo was dropped: find its faces, set the sliders to the largest face.

        If it cannot be used, the page keeps the photo that it has.
        """
        parts = self._parts
        try:
            with self._visitors.arriving(key) as folder:
                sitting = sit_down(folder, self._animator, *take_upload(Path(upload["path"])))
                self._visitors.seat(sitting, key)
        except PROBLEMS as problem:
            return {
                parts.status: _problem(problem),
                parts.photo: self._photo(self._visitors.has_photo(key)),
            }
        return {
            parts.photo: self._photo(True),
            parts.faces: self._gr.Radio(value=LARGEST, visible=len(sitting.photo.faces) > 1),
            **self._at(sitting, sitting.own, LARGEST, overlay),
        }

    def edit(self, key: str, faces: str, overlay: bool, *values: float) -> Updates:
        """A slider or a switch was moved."""
        return self._view(self._visitors.sitting(key), values, faces, overlay)

    def preset(self, name: str, key: str, faces: str, overlay: bool) -> Updates:
        """An expression was chosen by name."""
        sitting = self._visitors.sitting(key)
        return self._at(sitting, self._expressions.get(name, sitting.own), faces, overlay)

    def transfer(self, key: str, upload: dict[str, Any], faces: str, overlay: bool) -> Updates:
        """Another photo was chosen for its expression."""
        image, _ = take_upload(Path(upload["path"]))
        sitting = self._visitors.sitting(key)
        return self._at(sitting, own_values(self._animator.find(image)[0]), faces, overlay)

    def save(self, kind: str, key: str, faces: str, *values: float) -> Updates:
        """A button was pressed to save a picture or a film."""
        sitting = self._visitors.sitting(key)
        if kind == "png":
            path = save_picture(self._animator, sitting, values, faces == ALL)
        else:
            path = save_film(self._animator, sitting, values, faces == ALL, kind)
        return {self._parts.saved: str(path), self._parts.status: _note(sitting.note)}

    def _photo(self, another: bool) -> Any:
        """The drop area, small once the page shows a photo."""
        if another:
            return self._gr.File(value=None, label="Another photo", height=SMALL)
        return self._gr.File(value=None, label="Photo", height=LARGE)

    def _at(self, sitting: Sitting, values: Sequence[float], faces: str, overlay: bool) -> Updates:
        """The sliders at those values, and the edit."""
        sliders = dict(zip(self._parts.sliders, values, strict=True))
        return sliders | self._view(sitting, values, faces, overlay)

    def _view(
        self, sitting: Sitting, values: Sequence[float], faces: str, overlay: bool
    ) -> Updates:
        after = save_view(self._animator, sitting, values, faces == ALL, overlay)
        pair = self._gr.ImageSlider(value=(str(sitting.before), str(after)), visible=True)
        return {self._parts.status: _note(sitting.note), self._parts.view: pair}


def heading(animator: Animator) -> str:
    """The title, and which model the page uses."""
    model = animator.model
    facts = [
        f"Model <b>{html.escape(model.name)}</b>",
        f"{model.image_size} x {model.image_size} pixels a face",
        "trained on grey faces" if model.grey else "",
        html.escape(str(model.about.get("licence", ""))),
        f'<span title="SHA-256 {model.sha256}">{model.sha256[:12]}</span>',
    ]
    return f"<h1>Edit an expression</h1><p>{' &middot; '.join(filter(None, facts))}</p>"


def footing() -> str:
    """What happens to photos and edits."""
    return (
        "<p>Pictures and films that you save are marked as edited by AI, with the model's name."
        " Your photos stay on the computer that serves this page and are deleted when you close the"
        " page.</p>"
    )


def _note(text: str) -> str:
    return f'<p role="status">{html.escape(text)}</p>'


def _problem(problem: Exception) -> str:
    text = str(problem)
    if isinstance(problem, NoFaceError):
        text = NO_FACE
    elif isinstance(problem, UnusableFile) and problem.reason == "unreadable picture":
        text = UNREADABLE  # Pillow's words are for programmers
    return f'<p role="alert" class="problem">{html.escape(text)}</p>'


def _with_request(gr: ModuleType, function: Callable[..., Any]) -> Callable[..., Any]:
    """Annotate an argument so that Gradio passes its request there."""
    function.__annotations__["request"] = gr.Request
    return function
