"""The web page: drop a photo, move sliders, see the edit. Made with Gradio (extra ``webui``).

``page`` holds what is on the page, ``visitors`` what it does with photos, ``guard`` what is
served to whom, ``server`` the connections.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.inputs import MODEL_HELP
from ganimation_jax.animation.loading import keep_compiled
from ganimation_jax.faces.landmarker import FACE_LANDMARKER
from ganimation_jax.faces.offline import block_reports
from ganimation_jax.files.assets import locate
from ganimation_jax.runs.pretrained import DEFAULT
from ganimation_jax.web.folder import server_folder
from ganimation_jax.web.page import CSS, FONT, build
from ganimation_jax.web.photos import warm_up
from ganimation_jax.web.visitors import LARGEST_FILE, Visitors

DESCRIPTION = "Edit facial expressions in a browser."
EVERYWHERE = {"0.0.0.0", "::"}  # to listen on, not the name of a host


def main(argv: list[str] | None = None) -> int:
    """Serve the page until interrupted.

    Returns:
      The exit code: 0, or 2 when it could not start.
    """
    args = _parser().parse_args(argv)
    # Photos of visitors are deleted however the server is asked to stop.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        keep_compiled()
        # Both may be downloaded: before nothing gets out any more.
        landmarker = locate(FACE_LANDMARKER, args.landmarker)
        with Animator.load(args.model, landmarker=landmarker) as animator:
            block_reports()
            with serving(animator, args.host, args.port, args.allow_host) as url:
                print(_welcome(url, args.host), flush=True)
                while True:
                    signal.pause()
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ganimation web", description=DESCRIPTION)
    add = parser.add_argument
    add("--model", default=DEFAULT, metavar="MODEL", help=MODEL_HELP)
    add("--landmarker", type=Path, metavar="FILE", help="face_landmarker.task, if not found")
    add(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen: 127.0.0.1 serves this computer alone, 0.0.0.0 every network it is "
        "in, to those who have the address with its token (default: %(default)s)",
    )
    add("--port", type=int, default=7860, metavar="N", help="(default: %(default)s)")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name under which browsers may open the page, such as that of a reverse "
        "proxy; may be repeated",
    )
    return parser


def _welcome(url: str, host: str) -> str:
    if "?token=" not in url:
        return f"{url}  (press Ctrl-C to stop)"
    return (
        f"{url}  (press Ctrl-C to stop)\n"
        f"Listening on {host}: anyone who can reach this computer over its network and has this "
        "address can use the page. The connection is not encrypted."
    )


@contextlib.contextmanager
def serving(
    animator: Animator,
    host: str = "127.0.0.1",
    port: int | None = None,
    allowed_hosts: Sequence[str] = (),
) -> Iterator[str]:
    """Serve the page, in other threads, while the context lasts.

    Args:
      animator: edits the photos.
      host: the address to listen on. Where other computers can reach it, a random token
        in the page's address is required.
      port: None takes a free one.
      allowed_hosts: names by which browsers may call this server besides its own address.

    Yields:
      The page's address.

    Raises:
      ImportError: Gradio or MediaPipe is not installed.
      OSError: the port is taken, or the host is not an address of this computer.
      ValueError: an allowed host is not a name.
    """
    gr = _gradio()
    from ganimation_jax.web import guard, server  # need uvicorn, which comes with Gradio

    names = frozenset(guard.host_name(name) for name in (*allowed_hosts, host))
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(server.listen(host, port))
        address, number = listening.getsockname()[:2]
        token = "" if server.is_local(address) else guard.new_token()
        warm_up(animator)
        root = stack.enter_context(server_folder())
        stack.enter_context(_environment("GRADIO_TEMP_DIR", str(root)))  # for uploads
        visitors = Visitors(root)
        page = build(gr, animator, visitors)
        access = guard.Access(names - EVERYWHERE, token)
        app = guard.Guard(mounted(gr, page), visitors, access)
        stack.enter_context(server.running(app, listening))
        stack.callback(lambda: page.app.stop_event.set())
        shown = server.reachable_address(address)
        shown = f"[{shown}]" if ":" in shown else shown
        yield f"http://{shown}:{number}/" + (f"?token={token}" if token else "")


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def mounted(gr: ModuleType, page: Any) -> Any:
    """The page as an ASGI application."""
    from fastapi import FastAPI

    return gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        max_file_size=LARGEST_FILE,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        theme=gr.themes.Default(font=FONT, font_mono="monospace"),
        css=CSS,
    )


def _gradio() -> ModuleType:
    # Before it is imported: it counts its users and asks for its newest version.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
    try:
        import gradio
    except ImportError as error:
        raise ImportError(
            "the web page needs Gradio: pip install 'ganimation-jax[webui]'"
        ) from error
    return gradio
