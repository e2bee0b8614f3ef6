"""The page's requests, answered with Starlette: photos in, pictures and films out.

Each request names its visitor in the header ``x-visitor``. One request uses a model at a time.
"""

import contextlib
import functools
import json
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ganimation_jax.animation.animator import NoFaceError
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.web import jobs
from ganimation_jax.web.desk import PORTRAIT, STATIC, Desk
from ganimation_jax.web.photos import Refused
from ganimation_jax.web.visitors import LARGEST_FILE, LARGEST_VIDEO, Full, Gone

LARGEST_REQUEST = 2**20  # bytes of JSON
KEY = re.compile(r"[0-9a-f]{32}")
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
PULSE = 15.0  # seconds between two signs of life of an open page's connection
NO_FACE = "No face was found. Choose a photo with a larger face, seen from the front."
UNREADABLE = "This file is not a picture that can be read: try a JPEG or PNG."
NO_FACE_IN_VIDEO = "No face was found in any frame of the video."

GONE = "The photo is gone: choose it again."
# Problems that a visitor can do something about. Everything else is a bug, and is logged.
PROBLEMS = (Refused, NoFaceError, UnusableFile, ImportError, Full, Gone)


def problem(error: Exception) -> str:
    """The page's words for one of ``PROBLEMS``."""
    if isinstance(error, NoFaceError):
        return NO_FACE
    if isinstance(error, UnusableFile):
        # Pillow's words are for programmers.
        return UNREADABLE if error.reason == "unreadable picture" else f"{error}."
    return GONE if isinstance(error, Gone) else str(error)


def video_problem(error: Exception) -> str:
    """As ``problem``, in words about a video."""
    return NO_FACE_IN_VIDEO if isinstance(error, NoFaceError) else problem(error)


def application(desk: Desk) -> Starlette:
    """The page and its requests as an ASGI application."""
    api = Api(desk)
    posts = {"open": api.open, "sample": api.sample, "view": api.view, "save": api.save,
             "previews": api.previews, "expression": api.expression, "film": api.film,
             "video": api.video, "drive": api.drive}  # fmt: skip
    gets = {"stay": api.stay, "file/{folder}/{name}": api.file}
    routes = [Route(f"/api/{name}", _answered(one), methods=["POST"])
              for name, one in posts.items()]  # fmt: skip
    routes += [Route(f"/api/{name}", _answered(one), methods=["GET"]) for name, one in gets.items()]
    routes += [Route("/api/page", api.page)]
    page = functools.partial(FileResponse, STATIC / "index.html")
    return Starlette(
        routes=[
            Route("/", lambda _: page(headers={"cache-control": "no-cache"})),
            *routes,
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
    )


def _answered(
    answer: Callable[[Request, str], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Answer with the page's words where a request cannot be served."""

    async def answered(request: Request) -> Response:
        key = request.headers.get("x-visitor") or request.query_params.get("visitor", "")
        if not KEY.fullmatch(key):
            return JSONResponse({"problem": "which visitor?"}, 400)
        try:
            return await answer(request, key)
        except ClientDisconnect:
            return Response(status_code=400)
        except PROBLEMS as error:
            return JSONResponse({"problem": problem(error)}, 410 if type(error) is Gone else 422)

    return answered


class Api:
    """Answers to the page's requests."""

    def __init__(self, desk: Desk):
        self._desk = desk
        self._model = threading.Lock()  # held by the thread that uses a model

    async def page(self, request: Request) -> Response:
        """What the page is made from: the models, their muscles, the expressions."""
        return JSONResponse(self._desk.page())

    async def stay(self, request: Request, key: str) -> Response:
        """A connection that lasts as long as the page is open."""

        async def signs() -> AsyncIterator[bytes]:
            with self._desk.visitors.visiting(key):
                while True:
                    yield b"data: here\n\n"
                    await anyio.sleep(PULSE)

        return StreamingResponse(signs(), media_type="text/event-stream")

    async def open(self, request: Request, key: str) -> Response:
        """A photo arrives."""
        async with self._upload(request, LARGEST_FILE) as path:
            return JSONResponse(await self._work(self._desk.open, key, path))

    async def sample(self, request: Request, key: str) -> Response:
        """The photo that comes with the page."""
        return JSONResponse(await self._work(self._desk.open, key, PORTRAIT))

    async def view(self, request: Request, key: str) -> Response:
        """The edited photo, at its size on the page."""
        return _jpeg(await self._work(self._desk.view, key, await _json(request)))

    async def previews(self, request: Request, key: str) -> Response:
        """Small pictures of a face with several expressions."""
        return _jpeg(await self._work(self._desk.previews, key, await _json(request)))

    async def save(self, request: Request, key: str) -> Response:
        """The edited photo, or an expression, as a file."""
        content, kind = await self._work(self._desk.save, key, await _json(request))
        return Response(content, media_type=kind)

    async def expression(self, request: Request, key: str) -> Response:
        """The expression in another photo, a CSV file or an expression file."""
        async with self._upload(request, LARGEST_FILE) as path:
            return JSONResponse(await self._work(self._desk.expression, path))

    async def film(self, request: Request, key: str) -> Response:
        """A film of the photo."""
        job = self._desk.film(key, await _json(request))
        return self._job(job, problem)

    async def video(self, request: Request, key: str) -> Response:
        """An edited video."""
        asked = _asked(request)
        return await self._with_video(request, functools.partial(self._desk.video, key, asked))

    async def drive(self, request: Request, key: str) -> Response:
        """A film of the photo with the expressions of a video."""
        asked = _asked(request)
        return await self._with_video(request, functools.partial(self._desk.drive, key, asked))

    async def file(self, request: Request, key: str) -> Response:
        """A film that was made for this visitor."""
        names = request.path_params["folder"], request.path_params["name"]
        path = self._desk.visitors.file(key, *names)
        return Response(status_code=404) if path is None else FileResponse(path)

    async def _with_video(
        self, request: Request, make: Callable[[Path], jobs.Job]
    ) -> StreamingResponse:
        """Run a job on an uploaded video, whose file is removed after the job."""
        stack = contextlib.AsyncExitStack()
        try:
            path = await stack.enter_async_context(self._upload(request, LARGEST_VIDEO))
            job = make(path)
        except BaseException:
            await stack.aclose()
            raise
        return self._job(job, video_problem, stack)

    def _job(
        self,
        job: jobs.Job,
        words: Callable[[Exception], str],
        stack: contextlib.AsyncExitStack | None = None,
    ) -> StreamingResponse:
        async def lines() -> AsyncIterator[bytes]:
            async with (
                stack or contextlib.AsyncExitStack(),
                contextlib.aclosing(jobs.lines(job, self._model, PROBLEMS, words)) as said,
            ):
                async for line in said:
                    yield line

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    @contextlib.asynccontextmanager
    async def _upload(self, request: Request, largest: int) -> AsyncIterator[Path]:
        """The body of a request as a file, removed on leaving."""
        suffix = Path(request.query_params.get("name", "")).suffix
        suffix = suffix.lower() if SUFFIX.fullmatch(suffix) else ""
        with self._desk.visitors.upload(suffix) as path:
            size = 0
            with path.open("wb") as file:
                async for part in request.stream():
                    size += len(part)
                    if size > largest:
                        raise Refused(f"The file is larger than {largest // 2**20} MB.")
                    file.write(part)
            yield path

    async def _work(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in a thread, one at a time."""

        def alone() -> Any:
            with self._model:
                return function(*args)

        return await anyio.to_thread.run_sync(alone)


async def _json(request: Request) -> dict[str, Any]:
    """The body of a request.

    Raises:
      Refused: it is too long, or no JSON object.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_REQUEST:
            raise Refused("The request is too long.")
    return _object(body)


def _asked(request: Request) -> dict[str, Any]:
    return _object(request.query_params.get("asked", "").encode())


def _object(text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("The request is not JSON.") from error
    if not isinstance(data, dict):
        raise Refused("The request is no JSON object.")
    return data


def _jpeg(content: bytes) -> Response:
    return Response(content, media_type="image/jpeg")
