"""What stands in front of the page's application.

It answers only requests for this page, from this page: other hosts' names (DNS rebinding) and
other pages' requests (cross-site request forgery) are refused, as are uploads beyond a quota and
bodies that take too long.
"""

import asyncio
import contextlib
import http.cookies
import ipaddress
import secrets
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ganimation_jax.web.visitors import LARGEST_FILE, LARGEST_VIDEO, VIDEOS, Full, Visitors

API = "/api/"  # what the page posts to
BODY_SECONDS = 120.0  # in which a body must have arrived
# What browsers may load: only what this server sends, and pictures that the page has made.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data: blob:; media-src 'self' blob:; base-uri 'none'; "
    b"frame-ancestors 'none'; form-action 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
NOT_SERVED = "not served"
NO_TOKEN = "Open the complete address that the server printed: it ends with ?token=..."
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Access(NamedTuple):
    """Who may use the page."""

    hosts: frozenset[str] = frozenset()  # names for this server besides its own address
    token: str = ""  # that must come with the first request; "" asks for none


class Refusal(Exception):
    """A request that is not served: its HTTP status and a reason."""

    def __init__(self, status: int, reason: str = NOT_SERVED):
        super().__init__(reason)
        self.status = status


class Guard:
    """Wraps an ASGI application.

    Args:
      app: what is guarded.
      visitors: whose files may be read, and who limits uploads.
      access: who may use the page.
    """

    def __init__(self, app: Any, visitors: Visitors, access: Access):
        self._app, self._visitors, self._access = app, visitors, access

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve a request, as ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        try:
            await self._serve(scope, receive, send_on)
        except Refusal as refusal:
            await _answer(send_on, refusal.status, str(refusal))
        except Full as full:
            await _answer(send_on, 507, str(full))

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        headers = _Headers(scope["headers"])
        host = headers.one("host")
        self._check_host(scope, host)
        self._check_origin(scope, headers, host)
        if self._access.token and not self._knows_token(scope, headers):
            await self._let_in(scope, send)
            return
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD"):
            await self._app(scope, receive, send)
        elif method == "POST" and path.startswith(API):
            largest = LARGEST_VIDEO if path in VIDEOS else LARGEST_FILE
            with self._visitors.uploading(_length(headers, largest)):
                await self._app(scope, _in_time(receive), send)
        else:
            raise Refusal(403)

    def _check_host(self, scope: Any, host: str) -> None:
        """A name that resolves to this server but is not one of its own is an attack.

        An address in digits cannot be rebound, but only the server's own is accepted.
        """
        name = _host_name(host)
        own = str(scope["server"][0]).partition("%")[0] if scope.get("server") else ""
        if name not in LOCAL_NAMES | self._access.hosts and name != own:
            raise Refusal(
                421, f"{name or 'no host'} is not a name of this server: see --allow-host"
            )

    def _check_origin(self, scope: Any, headers: "_Headers", host: str) -> None:
        """Browsers name the page that a request comes from: it must be ours."""
        if (origin := headers.one("origin")) and not self._is_own(origin, host):
            raise Refusal(403, "requests from other pages are not served")
        site = headers.one("sec-fetch-site")
        if site in ("", "none", "same-origin"):
            return
        # A link on another page may lead here; its scripts and pictures may not reach further.
        navigates = headers.one("sec-fetch-mode") == "navigate"
        if not (navigates and scope["method"] == "GET" and scope["path"] == "/"):
            raise Refusal(403, "requests from other pages are not served")

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            parts = urllib.parse.urlsplit(origin)
            port = {"http": ":80", "https": ":443"}.get(parts.scheme)
            name = parts.hostname or ""
        except ValueError:
            return False
        if port is None or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            return False
        same = parts.netloc.lower().removesuffix(port) == host.lower().removesuffix(port)
        return same or name in self._access.hosts

    def _knows_token(self, scope: Any, headers: "_Headers") -> bool:
        try:
            cookies = http.cookies.SimpleCookie(headers.one("cookie"))
        except http.cookies.CookieError:
            return False
        given = cookies.get(_cookie_name(scope))
        return given is not None and _equal(given.value, self._access.token)

    async def _let_in(self, scope: Any, send: Send) -> None:
        """Take the token from the address into a cookie, so that no log or link shows it."""
        query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"))
        (given, *_) = query.get("token", [""])
        if scope["path"] != "/" or not _equal(given, self._access.token):
            raise Refusal(401, NO_TOKEN)
        cookie = f"{_cookie_name(scope)}={self._access.token}; Path=/; HttpOnly; SameSite=Lax"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
        await _answer(send, 303, "", headers)


class _Headers:
    """The headers of a request; one that decides and comes twice is refused."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]):
        self._pairs = pairs

    def one(self, name: str) -> str:
        values = [value for key, value in self._pairs if key == name.encode()]
        if len(values) > 1:
            raise Refusal(400, f"the header {name} came {len(values)} times")
        return values[0].decode("latin-1").strip() if values else ""


def new_token() -> str:
    """A token for ``Access``, as it can stand in an address."""
    return secrets.token_urlsafe(24)


def host_name(text: str) -> str:
    """The name of a host as ``Access`` has it.

    Raises:
      ValueError: it is not one, such as an address with a scheme or a path.
    """
    name = _host_name(text)
    if not name or name == "*":
        raise ValueError(f"{text!r} is not a host: give a name such as faces.example.org")
    return name


def _host_name(host: str) -> str:
    """The lower-case name of ``name:port``, without brackets; "" if it is not one."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    try:
        parts = urllib.parse.urlsplit(f"//{host}")
        _ = parts.port  # raises where it is not a number
    except ValueError:
        return ""
    if parts.netloc != host or "@" in host or not parts.hostname:
        return ""
    name = parts.hostname.removesuffix(".")
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(name))
    return name


def _cookie_name(scope: Any) -> str:
    """Cookies do not tell ports apart."""
    return f"ganimation-{scope['server'][1] if scope.get('server') else ''}"


def _equal(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())


def _length(headers: _Headers, largest: int) -> int:
    """Bytes of a body.

    Raises:
      Refusal: it is too large, or its size is not given.
    """
    text = headers.one("content-length")
    if not (text.isascii() and text.isdigit()):
        raise Refusal(411, "a request must give its length")
    if len(text) > 15 or int(text) > largest:
        raise Refusal(413, f"The file is larger than {largest // 2**20} MB.")
    return int(text)


def _in_time(receive: Receive) -> Receive:
    """The same, but a body that does not come is as if the client had left."""
    end, whole = time.monotonic() + BODY_SECONDS, False

    async def in_time() -> Message:
        nonlocal whole
        if whole:  # what comes now is only that the client has left
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(end - time.monotonic(), 0))
        except TimeoutError:
            whole = True
            return {"type": "http.disconnect"}
        whole = not message.get("more_body", False)
        return message

    return in_time


async def _answer(
    send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    kind = (b"content-type", b"text/plain; charset=utf-8")
    start = {"type": "http.response.start", "status": status, "headers": [kind, *(headers or [])]}
    await send(start)
    await send({"type": "http.response.body", "body": text.encode()})
