"""Weights that lie elsewhere: fetched once over HTTPS, announced, limited, checked."""

import http.server
import json
import shutil
import ssl
import subprocess
import threading

import jax
import pytest
from helpers import assert_trees_close

from ganimation_jax.files import assets
from ganimation_jax.runs import model_files
from ganimation_jax.runs.load import load_run


@pytest.fixture(scope="module")
def https(tmp_path_factory):
    """A folder, and its address on a server with a certificate of its own."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("https")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    served = folder / "served"
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=served)

        def do_GET(self):
            if self.path == "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "http://localhost/weights")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield served, f"https://localhost:{server.server_port}", certificate
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def elsewhere(https, tmp_path, monkeypatch):
    """Moves a model's weights to the server; the card keeps their address."""
    served, address, certificate = https
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("GANIMATION_JAX_CACHE", str(tmp_path / "cache"))

    def move(weights, name, url=""):
        card = weights.with_suffix(".json")
        said = json.loads(card.read_text())
        shutil.move(weights, served / name)
        said["weights"]["url"] = url or f"{address}/{name}"
        card.write_text(json.dumps(said))
        return card

    yield move
    for path in served.iterdir():
        path.unlink()


def test_weights_elsewhere_are_fetched_once_and_announced(packed, https, elsewhere, capsys):
    size = packed.stat().st_size
    card = elsewhere(packed, "weights")
    first = load_run(card)
    said = f"downloading weights for tiny, {size / 1e6:.1f} MB, from {https[1]}/weights"
    assert said in capsys.readouterr().err
    (https[0] / "weights").unlink()
    assert_trees_close(load_run(card).nets, first.nets, rtol=0)


def test_two_models_of_one_name_do_not_share_a_file(packed, elsewhere, tmp_path):
    other = tmp_path / "other" / packed.name
    other.parent.mkdir()
    nets = jax.tree.map(lambda x: 2 * x, load_run(packed).nets)
    card = json.loads(packed.with_suffix(".json").read_text())
    model_files.write(other, nets, card)
    cards = elsewhere(packed, "one"), elsewhere(other, "two")
    for _ in range(2):
        one, two = (load_run(card).nets for card in cards)
        assert_trees_close(jax.tree.map(lambda x: 2 * x, one), two, rtol=0)


def test_downloads_are_limited(packed, elsewhere, monkeypatch):
    monkeypatch.setattr(assets, "LARGEST", 10_000)
    with pytest.raises(FileNotFoundError, match="it is larger than"):
        load_run(elsewhere(packed, "weights"))


@pytest.mark.parametrize("url", ["http://localhost/w", "file:///etc/passwd", "ftp://x/w", 5])
def test_weights_come_over_https_only(packed, elsewhere, url):
    with pytest.raises(ValueError, match="weights come over https only"):
        load_run(elsewhere(packed, "weights", url))


def test_https_does_not_lead_elsewhere(packed, https, elsewhere):
    with pytest.raises(FileNotFoundError, match="it leads to http://localhost/weights, which is"):
        load_run(elsewhere(packed, "weights", f"{https[1]}/elsewhere"))
