"""The server of the web page: an ASGI application in a thread, with limits on connections."""

import asyncio
import contextlib
import ipaddress
import resource
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0  # in which the headers of a request must have arrived
MOST_CONNECTIONS = 256  # an open page uses two or three
GRACE = 3  # seconds that requests may take to end when the server stops
NOWHERE = "192.0.2.1"  # an address of no host (RFC 5737)


def most_connections() -> int:
    """How many connections may be open: files of the process need descriptors too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(16, min(MOST_CONNECTIONS, soft // 4))


class Limited(H11Protocol):
    """HTTP/1.1 with a time limit for headers and a limit on the number of connections.

    Uvicorn waits for headers for ever, so that half a header holds a descriptor. Where all
    connections are taken, the one that has waited longest for its headers makes room.
    """

    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, or refuse it when there are too many."""
        super().connection_made(transport)
        self._wait_for_headers()
        if len(self.connections) > most_connections():
            waiting = [
                one
                for one in self.connections
                if isinstance(one, Limited) and one.deadline is not None
            ]
            # The new one is the last to be closed: there may be none that waits longer.
            min(waiting, key=lambda one: one.deadline.when()).close()  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        """Read what has come; the time for headers runs from their first byte."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_headers()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def close(self) -> None:
        """Close at once, whatever has not been sent."""
        self._stop_waiting()
        self.connections.discard(self)
        self.transport.abort()

    def _wait_for_headers(self) -> None:
        if self.deadline is None:
            self.deadline = self.loop.call_later(HEADER_SECONDS, self.close)

    def _stop_waiting(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


def listen(host: str, port: int | None) -> socket.socket:
    """A listening socket.

    Args:
      host: an address of this computer, or a name of one.
      port: None takes a free one.

    Raises:
      OSError: the port is taken, or the host is none of this computer.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise OSError(
            f"cannot listen on {host}:{port} ({error.strerror}): try another --host or --port"
        ) from error


def is_local(address: str) -> bool:
    """Whether only this computer reaches the address."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def reachable_address(address: str) -> str:
    """The address itself; for one of all interfaces that of the one to the network."""
    if not ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        return address
    family = socket.AF_INET if address.count(":") == 0 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: this only asks which interface would be used.
            probe.connect((NOWHERE if family is socket.AF_INET else "2001:db8::1", 9))
            return str(probe.getsockname()[0])
        except OSError:  # no network
            return "127.0.0.1" if family is socket.AF_INET else "::1"


@contextlib.contextmanager
def running(app: Any, listening: socket.socket) -> Iterator[None]:
    """Serve an ASGI application in a thread while the context lasts.

    Args:
      listening: of ``listen``; closed on leaving.

    Raises:
      OSError: the application did not start.
    """
    config = uvicorn.Config(
        app,
        http=Limited,
        ws="none",
        lifespan="on",
        log_config=None,  # it would close the handlers that others have
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
    )
    server = uvicorn.Server(config)
    ready = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []  # the server's, once it serves

    def serve() -> None:
        async def all_of_it() -> None:
            serving = asyncio.ensure_future(server.serve([listening]))
            while not (server.started or serving.done()):
                await asyncio.sleep(0.01)
            if server.started:
                loops.append(asyncio.get_running_loop())
            ready.set()
            await serving

        try:
            asyncio.run(all_of_it())
        finally:
            ready.set()

    thread = threading.Thread(target=serve, name="web page", daemon=True)
    thread.start()
    ready.wait()
    try:
        if not loops:
            raise OSError("the web page could not be started; the log says why")
        yield
    finally:
        server.should_exit = True
        for loop in loops:  # open pages would keep their connections for ever
            loop.call_soon_threadsafe(_close_all, server)
        thread.join()
        listening.close()


def _close_all(server: uvicorn.Server) -> None:
    for connection in list(server.server_state.connections):
        if isinstance(connection, Limited):
            connection.close()
