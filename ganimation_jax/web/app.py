"""The web page: drop a photo, move sliders, see the edit. By Gradio (the extra ``webui``).

What is on the page is in ``web_page``, what it makes of photos in ``web_visitors``; here it
is served.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.inputs import MODEL_HELP
from ganimation_jax.animation.loading import keep_compiled
from ganimation_jax.runs.pretrained import DEFAULT
from ganimation_jax.web.page import CSS, FONT, build
from ganimation_jax.web.visitors import LARGEST_FILE, Visitors, warm_up

DESCRIPTION = "Edit expressions of faces in a browser."
# MediaPipe 1.2 reports its use to play.googleapis.com and has no switch for that. Through a proxy
# that is not there it cannot.
NOWHERE = "http://127.0.0.1:9"
API = "/gradio_api/"
# What the page and Gradio's start ask for there, apart from files.
ENTRIES = ("heartbeat", "queue", "startup-events", "upload", "upload_progress")
LARGEST_EVENT = 2**20  # bytes
# What browsers may load: only what this server sends. Gradio's own scripts need the rest.
POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    b"object-src 'none'; frame-ancestors 'none'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


def main(argv: list[str] | None = None) -> int:
    """Serve the page until interrupted.

    Returns:
      The exit code: 0, or 2 when it could not start.
    """
    parser = argparse.ArgumentParser(prog="ganimation web", description=DESCRIPTION)
    add = parser.add_argument
    add("--model", default=DEFAULT, metavar="MODEL", help=MODEL_HELP)
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
    os.environ["https_proxy"] = NOWHERE
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
    gr = _gradio()
    warm_up(animator)
    with tempfile.TemporaryDirectory(prefix="ganimation-webui-") as folder:
        root = Path(folder).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(root)  # where Gradio puts uploads
        page = build(gr, animator, Visitors(root))
        try:
            yield launch(gr, page, root, host, port)
        finally:
            page.close(verbose=False)


def launch(gr: ModuleType, page: Any, root: Path, host: str, port: int | None) -> str:
    """Begin to serve; returns the address."""
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


class Guard:
    """In front of Gradio, which can do more than this page needs.

    Only what the page asks for is answered, only files of visitors are given away, and
    nothing is fetched from elsewhere for anybody.
    """

    def __init__(self, app: Any, root: Path):
        self._app, self._root = app, root

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, as ASGI wants it."""

        async def send_on(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        allowed = self._allows(scope["path"])
        if allowed and scope["path"] == f"{API}queue/join":
            body = await _read(receive)
            allowed = body is not None and self._allows_event(body)
            receive = _again(body, receive)
        if allowed:
            await self._app(scope, receive, send_on)
        else:
            await send_on({"type": "http.response.start", "status": 403, "headers": []})
            await send_on({"type": "http.response.body", "body": b"not served"})

    def _allows(self, path: str) -> bool:
        if not path.startswith(API):
            return "=" not in path
        name, separator, file = path.removeprefix(API).partition("=")
        if separator:
            return name == "file" and self._has(file)
        return name.split("/")[0] in ENTRIES

    def _allows_event(self, body: bytes) -> bool:
        """Not if it names a file that is elsewhere: from an address Gradio would fetch it."""

        def within(value: Any) -> bool:
            if isinstance(value, dict):
                path = value.get("path", "")
                return (
                    isinstance(path, str) and self._has(path) and all(map(within, value.values()))
                )
            return not isinstance(value, list) or all(map(within, value))

        try:
            return within(json.loads(body))
        except (ValueError, RecursionError):
            return False

    def _has(self, path: str) -> bool:
        try:
            return not path or Path(path).resolve().is_relative_to(self._root)
        except ValueError:  # a null byte
            return False


async def _read(receive: Any) -> bytes | None:
    """The body of a request; None if it is too long, or broken off."""
    body = b""
    while len(body) <= LARGEST_EVENT:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body
    return None


def _again(body: bytes | None, receive: Any) -> Any:
    """A body that has been read, to be read again."""
    parts = iter([{"type": "http.request", "body": body or b"", "more_body": False}])

    async def once() -> Any:
        return next(parts, None) or await receive()

    return once


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
