"""The command ``ganimation web``: how it starts, what it says, how it ends."""

import os
import re
import signal
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request

import pytest
from helpers import mediapipe_missing, noise_run

from ganimation_jax.faces import offline
from ganimation_jax.web import app, folder

pytest.importorskip("starlette", reason="needs the extra 'webui'")
needs_mediapipe = pytest.mark.skipif(bool(mediapipe_missing()), reason=mediapipe_missing() or "-")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return noise_run(tmp_path_factory.mktemp("runs") / "tiny")


def answer(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def command(monkeypatch, capsys):
    """Run it; what to do while it serves, before it is asked to end."""
    handlers = [(one, signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGTERM)]

    for name in (*offline.PROXIES, *offline.EXCEPTIONS):
        monkeypatch.setenv(name, "")  # to be as it was afterwards

    def run_it(*words, meanwhile=lambda: None):
        pause = lambda: (meanwhile(), os.kill(os.getpid(), signal.SIGTERM))  # noqa: E731
        monkeypatch.setattr(signal, "pause", pause)
        return app.main([str(word) for word in words]), *capsys.readouterr()

    yield run_it
    for number, handler in handlers:
        signal.signal(number, handler)


@pytest.mark.slow
@needs_mediapipe
def test_it_serves_until_it_is_ended(command, run, monkeypatch, tmp_path):
    monkeypatch.setattr(app, "server_folder", lambda: folder.server_folder(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
    seen = []
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "googleapis.com")

    def look():
        seen.append((answer(address)[0], *tmp_path.iterdir()))
        # What MediaPipe sends goes nowhere.
        assert {os.environ[name] for name in offline.PROXIES} == {offline.NOWHERE}
        assert not {"no_proxy", "NO_PROXY"} & set(os.environ)

    port = urllib.parse.urlsplit(address).port
    code, out, error = command("--model", run, "--port", port, meanwhile=look)
    assert (code, out, error) == (0, f"{address}  (press Ctrl-C to stop)\n", "")
    ((status, root),) = seen
    assert status == 200
    assert not root.exists()


@pytest.mark.slow
@needs_mediapipe
def test_it_says_who_can_reach_it(command, run):
    seen = []
    with socket.socket() as free:
        free.bind(("0.0.0.0", 0))
        port = free.getsockname()[1]
    look = lambda: seen.append(answer(f"http://127.0.0.1:{port}/")[0])  # noqa: E731
    code, out, _ = command("--model", run, "--host", "0.0.0.0", "--port", port, meanwhile=look)
    assert (code, seen) == (0, [401])
    address, about = out.splitlines()
    assert re.match(rf"http://[0-9.]+:{port}/\?token=\S{{32}}  ", address)
    assert "0.0.0.0" not in address
    assert "anyone who can reach this computer" in about


def test_models_are_downloaded_before_the_way_out_is_closed(command, tmp_path, monkeypatch):
    """A card's address is asked for with the user's own proxy, whatever it is."""
    proxies = []

    def load(name, landmarker):
        proxies.append(os.environ["https_proxy"])
        raise FileNotFoundError("no model")

    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setattr(app, "locate", lambda *_: proxies.append(os.environ["https_proxy"]))
    monkeypatch.setattr(app.Animator, "load", load)
    assert command("--model", "x")[0] == 2
    assert proxies == ["http://proxy.example:3128"] * 2


@pytest.mark.slow
@needs_mediapipe
def test_a_taken_port_is_named(command, run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, error = command("--model", run, "--port", taken.getsockname()[1])
    assert (code, error.count("\n")) == (2, 1)
    assert "--port" in error


def test_what_keeps_it_from_starting(command, run, tmp_path, monkeypatch):
    code, _, error = command("--model", tmp_path)
    assert code == 2
    assert error.startswith("error: no checkpoint in ")
    monkeypatch.setitem(sys.modules, "starlette", None)
    for name in ("ganimation_jax.web.api", "starlette.applications"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("ganimation_jax.web.api", raising=False)  # an earlier import left it
    code, _, error = command("--model", run)
    assert (code, error) == (
        2,
        "error: the web page needs starlette: pip install 'ganimation-jax[webui]'\n",
    )
    monkeypatch.undo()
    code, _, error = command("--model", run, "--allow-host", "https://faces.example.org")
    assert code == 2
    assert "is not a host: give a name" in error
