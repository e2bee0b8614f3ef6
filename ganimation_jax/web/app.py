"""The web page: drop a photo, choose an expression, see the edit (extra ``webui``).

``static`` holds the page itself, ``api`` answers its requests by asking ``desk``, ``visitors``
keeps photos, ``guard`` decides what is served to whom, ``server`` holds the connections.
"""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import jax

from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.inputs import MODEL_HELP
from ganimation_jax.faces.landmarker import FACE_LANDMARKER
from ganimation_jax.faces.offline import block_reports
from ganimation_jax.files.assets import locate
from ganimation_jax.files.caches import keep_compiled
from ganimation_jax.runs.pretrained import DEFAULT
from ganimation_jax.web.desk import Desk
from ganimation_jax.web.folder import server_folder
from ganimation_jax.web.photos import warm_up
from ganimation_jax.web.visitors import Visitors

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
        _modules()
        keep_compiled(jax.config)
        # Both may be downloaded: before nothing gets out any more.
        landmarker = locate(FACE_LANDMARKER, args.landmarker)
        with contextlib.ExitStack() as stack:
            animators = [
                stack.enter_context(Animator.load(model, landmarker=landmarker))
                for model in (args.model, *args.compare)
            ]
            block_reports()
            url = stack.enter_context(serving(animators, args.host, args.port, args.allow_host))
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
    add(
        "--compare",
        action="append",
        default=[],
        metavar="MODEL",
        help="another model, to compare on the page with the first one",
    )
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
    animators: Sequence[Animator],
    host: str = "127.0.0.1",
    port: int | None = None,
    allowed_hosts: Sequence[str] = (),
) -> Iterator[str]:
    """Serve the page, in other threads, while the context lasts.

    Args:
      animators: the first edits the photos; others can be compared with it.
      host: the address to listen on. Where other computers can reach it, a random token
        in the page's address is required.
      port: None takes a free one.
      allowed_hosts: names by which browsers may call this server besides its own address.

    Yields:
      The page's address.

    Raises:
      ImportError: Starlette, Uvicorn or MediaPipe is not installed.
      OSError: the port is taken, or the host is not an address of this computer.
      ValueError: an allowed host is not a name.
    """
    api, guard, server = _modules()
    names = frozenset(guard.host_name(name) for name in (*allowed_hosts, host))
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(server.listen(host, port))
        address, number = listening.getsockname()[:2]
        token = "" if server.is_local(address) else guard.new_token()
        for animator in animators:
            warm_up(animator)
        root = stack.enter_context(server_folder())
        visitors = Visitors(root)
        application = api.application(Desk(animators, visitors))
        access = guard.Access(names - EVERYWHERE, token)
        guarded = guard.Guard(application, visitors, access)
        stack.enter_context(server.running(guarded, listening))
        shown = server.reachable_address(address)
        shown = f"[{shown}]" if ":" in shown else shown
        yield f"http://{shown}:{number}/" + (f"?token={token}" if token else "")


def _modules() -> tuple[ModuleType, ModuleType, ModuleType]:
    try:
        from ganimation_jax.web import api, guard, server
    except ImportError as error:
        package = str(error.name).partition(".")[0]
        raise ImportError(
            f"the web page needs {package}: pip install 'ganimation-jax[webui]'"
        ) from error
    return api, guard, server
