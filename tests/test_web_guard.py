"""What the web page's server refuses, over real sockets to 127.0.0.1."""

import contextlib
import http.client
import resource
import socket
import time

import pytest

from ganimation_jax.web import visitors as visitors_module
from ganimation_jax.web.visitors import Visitors

pytest.importorskip("uvicorn", reason="needs the extra 'webui'")

from ganimation_jax.web import guard, server

LOCAL = "127.0.0.1"
VIEW, OPEN = "/api/view", "/api/open"


async def echo(scope, receive, send):
    """In the page's place: serves everything, and says what body it got."""
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served " + body})


@contextlib.contextmanager
def guarded(root, hosts=(), token="", host=LOCAL):
    visitors = Visitors(root)
    access = guard.Access(frozenset(hosts), token)
    with server.listen(host, None) as listening:
        port = listening.getsockname()[1]
        with server.running(guard.Guard(echo, visitors, access), listening):
            yield port


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with guarded(tmp_path_factory.mktemp("root"), hosts=["faces.example.org"]) as port:
        yield port


def ask(port, method="GET", path="/", body=None, **headers):
    """Status and body of an answer. Underscores in names stand for hyphens."""
    connection = http.client.HTTPConnection(LOCAL, port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        connection.request(method, path, body, named)
        with connection.getresponse() as response:
            return response.status, response.read().decode()


# Whose name is it, whose page?


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "localhost.:80"),
        *("faces.example.org", "Faces.Example.Org:443"),
    ],
)
def test_its_own_names_are_served(port, host):
    assert ask(port, Host=host.format(port=port)) == (200, "served ")


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:{port}",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
        ),
        *("evil.example.faces.example.org", "127.0.0.1@evil.example", "evil.example#127.0.0.1"),
        *("", "127.0.0.1:x", "8.8.8.8", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "[::", "*"),
    ],
)
def test_other_names_are_not_served(port, host):
    """DNS rebinding: a browser asks for a page of evil.example, and gets here."""
    status, text = ask(port, Host=host.format(port=port))
    assert status in (400, 421)
    assert "served " not in text


@pytest.mark.parametrize("lines", ["", "Host: 127.0.0.1\r\nHost: evil.example\r\n"])
def test_a_request_names_one_host(port, lines):
    with socket.create_connection((LOCAL, port), timeout=20) as raw:
        raw.sendall(f"GET / HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        assert raw.makefile("rb").readline().split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "origin",
    ["http://127.0.0.1:{port}", "http://faces.example.org", "https://faces.example.org"],
)
def test_its_own_pages_are_served(port, origin):
    own = f"{LOCAL}:{port}" if LOCAL in origin else "faces.example.org"
    status, _ = ask(port, "POST", VIEW, "{}", Host=own, Origin=origin.format(port=port))
    assert status == 200


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "http://evil.example",
            "null",
            "http://127.0.0.1:1",
            "http://localhost:{port}",
            "file://",
        ),
        *("http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}/x", "http://[", "x"),
        *("ftp://127.0.0.1:{port}", "http://evil.example@127.0.0.1:{port}"),
    ],
)
@pytest.mark.parametrize("path", [OPEN, VIEW])
def test_other_pages_requests_are_not_served(port, origin, path):
    origin = origin.format(port=port)
    status, text = ask(port, "POST", path, "{}", Host=f"{LOCAL}:{port}", Origin=origin)
    assert (status, "served " in text) == (403, False)


@pytest.mark.parametrize(
    ("site", "mode", "path", "status"),
    [
        ("same-origin", "cors", "/api/page", 200),
        ("none", "navigate", "/", 200),
        ("cross-site", "navigate", "/", 200),  # a link
        ("cross-site", "no-cors", "/", 403),  # an image, a script
        ("same-site", "no-cors", "/api/page", 403),  # a page at another port of this computer
        ("cross-site", "navigate", "/api/stay", 403),
    ],
)
def test_what_other_pages_may_link_to(port, site, mode, path, status):
    assert ask(port, path=path, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode)[0] == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_served(port, method):
    assert ask(port, method)[0] == 403


@pytest.mark.parametrize("path", ["/", "/login", "/static/main.js", "/api", "/apix"])
def test_only_requests_of_the_page_are_posted(port, path):
    assert ask(port, "POST", path, "{}")[0] == 403


# Who has the address?


def test_a_token_opens_the_page_and_nothing_else_does(tmp_path):
    token = guard.new_token()
    with guarded(tmp_path, token=token) as port:
        for path in ("/", "/api/page", "/?token=", f"/?token={token}x", "/?token=%FF&token=a"):
            status, text = ask(port, path=path)
            assert (status, "address that the server printed" in text) == (401, True)
        assert ask(port, "POST", VIEW, "{}")[0] == 401
        assert ask(port, path=f"/api/page?token={token}")[0] == 401  # only a page is opened by it
        connection = http.client.HTTPConnection(LOCAL, port, timeout=20)
        connection.request("GET", f"/?token={token}")
        response = connection.getresponse()
        assert (response.status, response.headers["Location"]) == (303, "/")
        cookie, *flags = response.headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Lax"} <= set(flags)
        connection.close()
        assert ask(port, path="/api/page", Cookie=f"other=1; {cookie}") == (200, "served ")
        assert ask(port, path="/api/page", Cookie=cookie[:-1] + "~")[0] == 401
    assert guard.new_token() != token


@pytest.mark.parametrize("name", ["https://faces.example.org", "a/b", "*", "", "a b@c", "x:y"])
def test_names_that_are_not_hosts_are_refused(name):
    with pytest.raises(ValueError, match="not a host"):
        guard.host_name(name)


def test_where_other_computers_reach_it():
    assert server.is_local("127.0.0.1")
    assert server.is_local("::1")
    assert not server.is_local("0.0.0.0")
    assert not server.is_local("192.168.0.7")
    assert server.reachable_address("192.168.0.7") == "192.168.0.7"
    shown = server.reachable_address("0.0.0.0")
    with socket.create_server((shown, 0)):  # it is one of this computer
        assert shown != "0.0.0.0"


def test_a_taken_port_is_reported():
    with socket.create_server((LOCAL, 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on {LOCAL}:{number}.*another --host"):
            server.listen(LOCAL, number)


# How much?


def upload(port, size, **headers):
    return ask(port, "POST", OPEN, bytes(size), **headers)


def test_uploads_under_way_count(tmp_path, monkeypatch):
    monkeypatch.setattr(visitors_module, "UPLOAD_QUOTA", 100_000)
    with guarded(tmp_path) as port:
        with socket.create_connection((LOCAL, port), timeout=20) as slow:
            head = f"POST {OPEN} HTTP/1.1\r\nHost: {LOCAL}\r\nContent-Length: 60000\r\n\r\n"
            slow.sendall(head.encode() + bytes(10))
            until(lambda: upload(port, 60_000)[0] == 507)
        until(lambda: upload(port, 60_000)[0] == 200)  # it was given up


def test_one_upload_has_a_limit_and_says_its_size(port):
    too_much = str(visitors_module.LARGEST_FILE + 1)
    with socket.create_connection((LOCAL, port), timeout=20) as raw:
        head = f"POST {OPEN} HTTP/1.1\r\nHost: {LOCAL}\r\nContent-Length: {too_much}\r\n"
        raw.sendall(head.encode() + b"\r\n")
        assert b" 413 " in raw.makefile("rb").readline()
    with socket.create_connection((LOCAL, port), timeout=20) as raw:
        head = f"POST {OPEN} HTTP/1.1\r\nHost: {LOCAL}\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode())
        assert b" 411 " in raw.makefile("rb").readline()


def test_videos_may_be_larger(port):
    for path, largest in ((OPEN, visitors_module.LARGEST_FILE),
                          ("/api/video", visitors_module.LARGEST_VIDEO)):  # fmt: skip
        for size, served in ((largest, True), (largest + 1, False), (10**18, False)):
            with socket.create_connection((LOCAL, port), timeout=20) as raw:
                head = f"POST {path} HTTP/1.1\r\nHost: {LOCAL}\r\nContent-Length: {size}\r\n\r\n"
                raw.sendall(head.encode())
                raw.shutdown(socket.SHUT_WR)
                assert (b" 413 " not in raw.makefile("rb").readline()) == served


def test_a_body_that_does_not_come_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)
    with guarded(tmp_path) as port, socket.create_connection((LOCAL, port), timeout=20) as slow:
        head = f"POST {VIEW} HTTP/1.1\r\nHost: {LOCAL}\r\nContent-Length: 60\r\n\r\n"
        slow.sendall(head.encode())
        assert slow.makefile("rb").read() is not None  # it ends


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_half_a_header_is_not_waited_for(tmp_path, monkeypatch, words):
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    with guarded(tmp_path) as port, socket.create_connection((LOCAL, port)) as half:
        half.sendall(words)
        until(lambda: closed(half))


def test_half_a_header_after_a_request_is_not_waited_for_either(tmp_path, monkeypatch):
    with guarded(tmp_path) as port, socket.create_connection((LOCAL, port), timeout=20) as half:
        half.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 200 " in half.recv(1000)
        monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
        half.sendall(b"GET / HTTP/1.1\r\n")
        until(lambda: closed(half))


def test_many_half_sent_headers_do_not_stop_it(tmp_path):
    """Neither by taking all descriptors nor by taking all connections."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(server.MOST_CONNECTIONS + 120, soft // 2 - 60)
    with guarded(tmp_path) as port, contextlib.ExitStack() as stack:
        attack = []
        for _ in range(count):
            half = stack.enter_context(socket.create_connection((LOCAL, port), timeout=20))
            half.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            attack.append(half)
        assert ask(port) == (200, "served ")
        until(lambda: sum(map(closed, attack)) >= count - server.most_connections())
        assert ask(port) == (200, "served ")


def test_idle_connections_do_not_cut_off_those_being_served(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 16)
    with guarded(tmp_path) as port, contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.create_connection((LOCAL, port), timeout=20))
        head = f"POST {VIEW} HTTP/1.1\r\nHost: {LOCAL}\r\nContent-Length: 2\r\n\r\n{{"
        busy.sendall(head.encode())
        assert ask(port)[0] == 200  # the request before has been read by now
        for _ in range(40):
            stack.enter_context(socket.create_connection((LOCAL, port), timeout=20))
        assert ask(port) == (200, "served ")
        busy.sendall(b"}")
        assert b" 200 " in busy.recv(1000)
