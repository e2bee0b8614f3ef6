"""The page itself: what is on it, how it looks, what happens when. Gradio is given by ``web``."""

import html
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.animation.animator import Animator, NoFaceError
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.web.visitors import (
    Refused,
    Sitting,
    Visitors,
    expression_values,
    own_values,
    save_film,
    save_picture,
    save_view,
    sit_down,
    take_upload,
)

REGIONS = ("brow", "eye", "cheek", "nose", "mouth", "chin")
OWN = "own expression"
LARGEST, ALL = "largest face", "all faces"
LARGE, SMALL = 300, 52  # pixels: the height of where photos are dropped, before and after
WAITING = 16  # requests that may wait for the one that is served
HELLO = "Drop a photo with a face in it, or click to choose one."
NO_FACE = "No face was found. Choose a photo that shows one from the front, and not too small."
UNREADABLE = "This file is no picture that can be read: try a JPEG or PNG."
# What people can mend is said on the page. Everything else is a fault, and goes to the log.
PROBLEMS = (Refused, UnusableFile, NoFaceError, ImportError)
# The browser saves the file that was made for it.
SAVE = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")

CSS = """
/* Clipped, not hidden: that would be a box to scroll in, and nothing in it would stick. */
.gradio-container {max-width: 1280px !important; margin: 0 auto !important;
  overflow: clip !important;
  --quiet: color-mix(in srgb, var(--body-text-color) 65%, transparent)}
.html-container {padding: 0 !important}
#head h1 {font-size: 1.35rem; font-weight: 650; margin: 0; line-height: 1.3}
#head p, #foot p {margin: 2px 0 0; font-size: .86rem; color: var(--quiet)}
#head span, #head b {color: inherit}
#foot {border-top: 1px solid var(--border-color-primary); margin-top: 6px}
#foot p {margin-top: 10px}

#work {gap: 28px; align-items: flex-start; flex-wrap: wrap}
#stage {gap: 10px; position: sticky; top: 12px}
/* One line: it is small once there is a photo. */
#photo .upload-container .wrap {flex-direction: row; gap: 8px; min-height: 0; padding: 0;
  font-size: .92rem}
#photo .upload-container .icon-wrap {width: 20px; margin: 0}
#photo .upload-container .or {margin: 0}
#status p {margin: 0; font-size: .9rem; padding: 8px 12px; border-radius: 8px;
  background: var(--background-fill-secondary)}
#status p.problem {background: #fdecea; color: #8a1c12; font-weight: 550}
.dark #status p.problem {background: #4a1712; color: #ffd9d3}
#under {align-items: center; gap: 8px; flex-wrap: wrap}
#under > * {flex: 0 0 auto; min-width: 0 !important; width: auto}
#overlay, #faces {border: none !important; padding: 0; background: none; box-shadow: none}
#overlay {flex: 1 1 200px}
#faces {flex: 1 1 100%; order: 1}
#overlay label, #faces label {white-space: nowrap; font-size: .86rem}

#controls {gap: 6px}
#presets {gap: 6px; flex-wrap: wrap; margin-bottom: 2px}
#presets > button {flex: 1 1 84px; min-width: 0 !important; white-space: nowrap}
.region h2 {font-size: .72rem; font-weight: 650; text-transform: uppercase; letter-spacing: .07em;
  margin: 10px 0 0; color: var(--quiet)}
.units, .units > .form {display: grid !important; gap: 10px 24px !important; border: none;
  background: none; box-shadow: none;
  grid-template-columns: repeat(auto-fill, minmax(min(220px, 100%), 1fr))}
.units > .form {grid-column: 1 / -1}
.unit {border: none !important; padding: 0 !important; background: none !important;
  overflow: visible !important; min-width: 0 !important}
.unit .wrap {gap: 0 !important}
.unit .head {margin: 0 !important; position: relative}
.unit label {min-width: 0; flex: 1}
.unit label > span {font-size: .86rem; margin: 0 56px 0 0 !important;
  color: var(--body-text-color)}
.unit .info-text {font-size: .72rem; margin: 2px 0 0 !important; line-height: 1.3;
  color: var(--quiet)}
.unit .tab-like-container {position: absolute; top: 0; right: 0; height: 21px}
.unit input[type=number] {width: 3.4em !important; height: 21px !important; min-height: 0;
  font-size: .78rem; padding: 0 4px !important; text-align: right; line-height: 1}
.unit .slider_input_container {margin: 6px 0 4px !important}
.unit .min_value, .unit .max_value {display: none}

@media (max-width: 760px) {
  /* There is no room for it beside the words. */
  #photo [data-testid=block-label] {display: none}
  .gradio-container .main.app {padding: 12px 16px !important}
  #work {gap: 10px}
  #stage {display: contents}
  #stage > *, #controls {flex: 1 1 100% !important; width: 100%; min-width: 100% !important}
  #view {position: sticky !important; top: 0; z-index: 100 !important}
  #view img {max-height: 42vh !important}
  #under > button {flex: 1 1 30%}
  #overlay {flex: 1 1 100%}
  .unit .slider_input_container {margin: 8px 0 8px !important}
}
"""

Updates = dict[Any, Any]  # components' new values


class Parts(NamedTuple):
    """The page's components that events read or change."""

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
    """The page, as ``gradio.Blocks``; not served yet."""
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
            status = gr.HTML(_said(HELLO), elem_id="status")
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
    gr.HTML(footing(animator), elem_id="foot")
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
                    *(0, 1, 0),
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
    """What happens when. One event is served at a time, whoever it is from."""

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
            # A slider being drawn along is edited again, where it is then, after each edit.
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
    """What the events do: each takes a visitor's key and inputs, and returns what is new."""

    def __init__(self, gr: ModuleType, animator: Animator, visitors: Visitors, parts: Parts):
        self._gr, self._animator, self._visitors, self._parts = gr, animator, visitors, parts
        self._expressions = expression_values(animator.action_units)

    def open(self, key: str, upload: dict[str, Any], overlay: bool) -> Updates:
        """A photo was dropped: find its faces, show what the largest one shows."""
        parts, folder = self._parts, self._visitors.fresh(key)  # the photo before is gone
        try:
            sitting = sit_down(folder, self._animator, *take_upload(Path(upload["path"])))
        except PROBLEMS as problem:
            return {
                parts.status: _problem(problem),
                parts.photo: self._gr.File(value=None, label="Photo", height=LARGE),
                parts.view: self._gr.ImageSlider(value=None, visible=False),
                parts.faces: self._gr.Radio(value=LARGEST, visible=False),
            }
        self._visitors.sit(key, sitting)
        return {
            parts.photo: self._gr.File(value=None, label="Another photo", height=SMALL),
            parts.faces: self._gr.Radio(value=LARGEST, visible=len(sitting.photo.faces) > 1),
            **self._at(sitting, sitting.own, LARGEST, overlay),
        }

    def edit(self, key: str, faces: str, overlay: bool, *values: float) -> Updates:
        """A slider or a switch was moved."""
        return self._view(self._visitors.sitting(key), values, faces, overlay)

    def preset(self, name: str, key: str, faces: str, overlay: bool) -> Updates:
        """An expression was chosen by its name."""
        sitting = self._visitors.sitting(key)
        return self._at(sitting, self._expressions.get(name, sitting.own), faces, overlay)

    def transfer(self, key: str, upload: dict[str, Any], faces: str, overlay: bool) -> Updates:
        """Another photo was chosen, for its expression."""
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
        return {self._parts.saved: str(path), self._parts.status: _said(sitting.note)}

    def _at(self, sitting: Sitting, values: Sequence[float], faces: str, overlay: bool) -> Updates:
        """All sliders at those values, and the edit."""
        sliders = dict(zip(self._parts.sliders, values, strict=True))
        return sliders | self._view(sitting, values, faces, overlay)

    def _view(
        self, sitting: Sitting, values: Sequence[float], faces: str, overlay: bool
    ) -> Updates:
        after = save_view(self._animator, sitting, values, faces == ALL, overlay)
        pair = self._gr.ImageSlider(value=(str(sitting.before), str(after)), visible=True)
        return {self._parts.status: _said(sitting.note), self._parts.view: pair}


def heading(animator: Animator) -> str:
    """What the page is, and which model works in it."""
    model = animator.model
    facts = [
        f"Model <b>{html.escape(model.name)}</b>",
        f"{model.image_size} x {model.image_size} pixels a face",
        "trained on grey faces" if model.grey else "",
        html.escape(str(model.about.get("licence", ""))),
        f'<span title="SHA-256 {model.sha256}">{model.sha256[:12]}</span>',
    ]
    return f"<h1>Edit an expression</h1><p>{' &middot; '.join(filter(None, facts))}</p>"


def footing(animator: Animator) -> str:
    """What becomes of photos and edits."""
    return (
        "<p>Pictures and films that you save carry a mark that they were edited by AI, and by which"
        " model. Photos are kept while this page is open, by the computer that serves it.</p>"
    )


def _said(text: str) -> str:
    return f'<p role="status">{html.escape(text)}</p>'


def _problem(problem: Exception) -> str:
    text = str(problem)
    if isinstance(problem, NoFaceError):
        text = NO_FACE
    elif isinstance(problem, UnusableFile) and problem.reason == "unreadable picture":
        text = UNREADABLE  # in other words than Pillow's
    return f'<p role="alert" class="problem">{html.escape(text)}</p>'


def _with_request(gr: ModuleType, function: Callable[..., Any]) -> Callable[..., Any]:
    """Gradio gives its request to a function's argument that is annotated so."""
    function.__annotations__["request"] = gr.Request
    return function
