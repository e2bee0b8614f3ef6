"""The web page: drop a photo, move sliders, see the edit. By Gradio (the extra ``webui``)."""

import argparse
import contextlib
import html
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.animation.animator import Animator, NoFaceError
from ganimation_jax.animation.models import keep_compiled
from ganimation_jax.animation.web_style import CSS, FONT
from ganimation_jax.animation.web_visitors import (
    LARGEST_FILE,
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
    warm_up,
)
from ganimation_jax.media.unusable import UnusableFile

REGIONS = ("brow", "eye", "cheek", "nose", "mouth", "chin")
OWN = "own expression"
LARGEST, ALL = "largest face", "all faces"
LARGE, SMALL = 300, 52  # pixels: the height of where photos are dropped, before and after
WAITING = 16  # requests that may wait for the one that is served
HELLO = "Drop a photo with a face in it, or click to choose one."
NO_FACE = "No face was found. Choose a photo that shows one from the front, and not too small."
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
# What browsers may load: only what this server sends. Gradio's own scripts need the rest.
POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    b"style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; "
    b"frame-ancestors 'none'; form-action 'self'"
)

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


def main(argv: list[str] | None = None) -> int:
    """Serve the page until interrupted.

    Returns:
      The exit code: 0, or 2 when it could not start.
    """
    parser = argparse.ArgumentParser(prog="ganimation_jax.webui", description=__doc__)
    add = parser.add_argument
    add("--model", required=True, metavar="RUN", help="a run's workdir or a .ganimation file")
    add("--landmarker", type=Path, metavar="FILE", help="face_landmarker.task, if not found")
    add(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="0.0.0.0 lets in the whole network, without a password (%(default)s: nobody else)",
    )
    add("--port", type=int, default=7860, metavar="N", help="(%(default)s)")
    args = parser.parse_args(argv)
    # However it is told to end, photos that people left in its folder go with it.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        keep_compiled()
        with (
            Animator.load(args.model, landmarker=args.landmarker) as animator,
            serving(animator, args.host, args.port) as url,
        ):
            print(f"{url}  (Ctrl-C ends it)", flush=True)
            while True:
                signal.pause()
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


@contextlib.contextmanager
def serving(animator: Animator, host: str = "127.0.0.1", port: int | None = None) -> Iterator[str]:
    """Serve the page, in other threads, while the context lasts.

    Args:
      host: from where the page can be reached.
      port: None takes a free one.

    Yields:
      The page's address.

    Raises:
      ImportError: Gradio or MediaPipe is not installed.
      OSError: the port is taken.
    """
    _gradio()  # or say that it is missing
    warm_up(animator)
    with tempfile.TemporaryDirectory(prefix="ganimation-webui-") as folder:
        root = Path(folder).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(root)  # where Gradio puts uploads
        page = build(animator, Visitors(root))
        try:
            yield launch(page, root, host, port)
        finally:
            page.close(verbose=False)


def launch(page: Any, root: Path, host: str, port: int | None) -> str:
    """Begin to serve; returns the address."""
    gr = _gradio()
    from starlette.middleware import Middleware

    if port is not None:
        try:  # Gradio's own words for this are about flags that are not ours
            socket.create_server((host, port)).close()
        except OSError as error:
            message = f"{host}:{port} cannot be served ({error.strerror}): try another --port"
            raise OSError(message) from error
    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        allowed_paths=[],
        max_file_size=LARGEST_FILE,
        app_kwargs={"middleware": [Middleware(Guard, root=root)]},
        theme=gr.themes.Default(font=FONT, font_mono="monospace"),
        css=CSS,
        footer_links=[],
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
    )
    return url


def build(animator: Animator, visitors: Visitors) -> Any:
    """The page, as ``gradio.Blocks``; not served yet."""
    gr = _gradio()
    # Uploads that no event took go after ten minutes.
    with gr.Blocks(title="ganimation_jax", analytics_enabled=False, delete_cache=(60, 600)) as page:
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


class Guard:
    """In front of Gradio, which would also fetch what is not ours: only files of visitors."""

    def __init__(self, app: Any, root: Path):
        self._app, self._root = app, root

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, as ASGI wants it."""

        async def send_on(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        if scope["type"] == "http" and not self._ours(scope["path"]):
            await send_on({"type": "http.response.start", "status": 403, "headers": []})
            await send_on({"type": "http.response.body", "body": b"not served"})
        else:
            await self._app(scope, receive, send_on)

    def _ours(self, path: str) -> bool:
        kind, separator, file = path.partition("=")
        if not separator:
            return True
        return kind.endswith("/file") and Path(file).resolve().is_relative_to(self._root)


def heading(animator: Animator) -> str:
    """What the page is, and which model works in it."""
    model = animator.model
    facts = [
        f"Model <b>{html.escape(model.name)}</b>",
        f"{model.image_size} x {model.image_size} pixels a face",
        "trained on grey faces" if model.grey else "",
        html.escape(str(model.about.get("use", ""))),
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
        text = "This file is no picture that can be read: try a JPEG or PNG."  # not Pillow's words
    return f'<p role="alert" class="problem">{html.escape(text)}</p>'


def _with_request(gr: ModuleType, function: Callable[..., Any]) -> Callable[..., Any]:
    """Gradio gives its request to a function's argument that is annotated so."""
    function.__annotations__["request"] = gr.Request
    return function


def _gradio() -> ModuleType:
    # Before it is imported: it counts its users, and asks for its newest version.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
    try:
        import gradio
    except ImportError as error:
        raise ImportError(
            "the web page needs Gradio: pip install 'ganimation-jax[webui]'"
        ) from error
    return gradio
