"""What goes to Weights & Biases, offline and with a server that fails."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from helpers import ALERT, ROOT, WANDB

from ganimation_jax.logs import weights_and_biases
from ganimation_jax.logs.writer import Writer
from ganimation_jax.version import __version__


class FakeRun:
    """What W&B gives, remembering what it was told; ``step`` as in a run that was continued."""

    def __init__(self, step, **settings):
        self.step, self.settings, self.id = step, settings, settings["id"]
        self.logged, self.alerts, self.artifacts = [], [], []

    def log(self, values, step):
        self.logged.append((step, values))

    def alert(self, title, text, level):
        self.alerts.append((title, text, level))

    def log_artifact(self, artifact, aliases):
        self.artifacts.append((artifact, aliases))


@pytest.fixture
def fake_wandb(monkeypatch):
    import wandb

    monkeypatch.setattr(weights_and_biases, "_answers", lambda address: True)

    runs = []

    def init(**settings):
        runs.append(FakeRun(25 if runs else 0, **settings))
        return runs[-1]

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    return runs


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoints" / "7"
    folder.mkdir(parents=True)
    (folder / "data").write_text("weights")
    return folder


def test_a_continued_run_is_the_same_run_in_wandb(tmp_path, fake_wandb, monkeypatch):
    online = WANDB | {"mode": "online", "group": "g", "tags": ("a", "b")}
    Writer(tmp_path, {"lr": 1e-4}, wandb=online)
    writer = Writer(tmp_path, {"lr": 1e-4}, start=10, wandb=online)
    first, second = fake_wandb
    assert first.id == second.id == (tmp_path / "wandb_id.txt").read_text().strip()
    assert first.settings["resume"] == second.settings["resume"] == "allow"
    assert (first.settings["group"], first.settings["tags"]) == ("g", ["a", "b"])
    assert first.settings["config"]["lr"] == 1e-4
    assert first.settings["config"]["code"]["ganimation_jax"] == __version__
    for images in (20, 30):  # W&B has all up to 24
        writer.metrics(images, {"a": 1.0})
    assert [step for step, _ in second.logged] == [30]
    monkeypatch.setenv("WANDB_RUN_ID", "agents")  # a sweep's agent knows better
    Writer(tmp_path, {}, wandb=online)
    assert fake_wandb[-1].id == "agents"
    Writer(tmp_path / "other", {}, wandb=online | {"mode": "offline"})
    assert fake_wandb[-1].settings["resume"] is None


def test_alerts_and_artifacts_go_to_wandb(tmp_path, fake_wandb, checkpoint):
    online = WANDB | {"mode": "online"}
    writer = Writer(tmp_path, {}, wandb=online)
    writer.artifact(checkpoint, 7)  # off by default
    writer.alert(ALERT)
    writer.alert(ALERT._replace(began=False))
    run = fake_wandb[-1]
    assert run.artifacts == []
    assert [(title, level) for title, _, level in run.alerts] == [
        ("attention_near_1", "WARN"),
        ("attention_near_1: recovered", "INFO"),
    ]
    writer = Writer(tmp_path, {}, wandb=online | {"artifacts": True})
    writer.artifact(checkpoint, 7)
    artifact, aliases = fake_wandb[-1].artifacts[0]
    assert (artifact.type, aliases) == ("checkpoint", ["latest", "step-7"])
    assert list(artifact.manifest.entries) == ["data"]


def test_everything_goes_through_wandb_offline(tmp_path, monkeypatch, checkpoint):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    offline = WANDB | {"mode": "offline", "artifacts": True, "tags": ("a",)}
    for start in (0, 20):
        writer = Writer(tmp_path, {"lr": 1e-4}, start=start, wandb=offline)
        writer.metrics(start + 10, {"critic/loss": 1.0})
        writer.picture(start + 10, "samples", np.zeros((4, 4, 3), np.uint8))
        writer.video(start + 10, "clip", [np.zeros((4, 4, 3), np.uint8)] * 2)
        writer.alert(ALERT)
        writer.artifact(checkpoint, 7)
        writer.close()
    run_id = (tmp_path / "wandb_id.txt").read_text().strip()
    folders = list(tmp_path.glob(f"wandb/offline-run-*-{run_id}"))
    assert len(folders) in (1, 2)  # two, unless both began in the same second
    media = {path.suffix for path in tmp_path.glob("wandb/offline-run-*/files/media/**/*.*")}
    assert media == {".png", ".gif"}


@pytest.mark.parametrize(
    ("asked", "variables", "mode"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": "k"}, "online"),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "disabled"),
        ("auto", {"WANDB_MODE": "Disabled"}, "disabled"),
        ("auto", {"WANDB_MODE": "online"}, "online"),
        ("auto", {"WANDB_MODE": "dryrun"}, "offline"),
        ("offline", {"WANDB_MODE": "disabled"}, "offline"),
        ("disabled", {"WANDB_MODE": "online"}, "disabled"),
    ],
)
def test_the_mode_is_the_configs_or_the_environments(asked, variables, mode, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert weights_and_biases.mode_of(asked) == mode


def test_an_unknown_mode_is_refused(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(ValueError, match="WANDB_MODE=sometimes is not one of online, offline"):
        weights_and_biases.mode_of("auto")
    with pytest.raises(ValueError, match=r"wandb.mode 'on' is not one of auto"):
        weights_and_biases.mode_of("on")


def in_a_process(program, workdir):
    return subprocess.run(
        [sys.executable, "-c", program, str(workdir)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture
def silent_server():
    """An address that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["nobody", "silent"])
def test_online_without_a_server_goes_offline_within_seconds(
    tmp_path, monkeypatch, caplog, silent_server, where
):
    address = silent_server if where == "silent" else "http://127.0.0.1:9"
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_BASE_URL", address)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    program = (
        "import logging, sys; from pathlib import Path; logging.basicConfig()\n"
        "from ganimation_jax.logs.writer import Writer\n"
        "wandb = {'mode': 'auto', 'project': '', 'group': '', 'name': ''}\n"
        "writer = Writer(Path(sys.argv[1]), {}, wandb=wandb)\n"
        "writer.metrics(10, {'a/loss': 1.0})\n"
        "writer.close()\n"
    )
    done = in_a_process(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "server does not answer: logging offline" in done.stderr
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.slow
def test_training_outlives_the_service_of_wandb(tmp_path):
    program = (
        "import logging, os, signal, subprocess, sys, time; from pathlib import Path\n"
        "logging.basicConfig(level=20)\n"
        "import numpy as np\n"
        "from ganimation_jax.logs.alerts import Alert\n"
        "from ganimation_jax.logs.writer import Writer\n"
        "wandb = {'mode': 'offline', 'project': '', 'group': '', 'name': ''}\n"
        "writer = Writer(Path(sys.argv[1]), {}, wandb=wandb)\n"
        "writer.metrics(10, {'a/loss': 1.0})\n"
        "children = Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()\n"
        "assert children\n"
        "for child in children: os.kill(int(child), signal.SIGKILL)\n"
        "time.sleep(1)\n"
        "writer.metrics(20, {'a/loss': 1.0})\n"
        "writer.picture(20, 'x', np.zeros((4, 4, 3), np.uint8))\n"
        "writer.alert(Alert(20, 'n', True, 1.0, 1.0, 'm'))\n"
        "writer.close()\n"
        "print('still here')\n"
    )
    done = in_a_process(program, tmp_path)
    assert "still here" in done.stdout, done.stderr
    assert done.stderr.count("training continues without it") == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_damaged_run_id_is_replaced_and_reported(tmp_path, fake_wandb, caplog):
    (tmp_path / "wandb_id.txt").write_bytes(b"\xff/../x\n")
    Writer(tmp_path, {}, wandb=WANDB | {"mode": "offline"})
    assert "holds no id of a W&B run" in caplog.text
    assert (tmp_path / "wandb_id.txt").read_text().strip() == fake_wandb[-1].id != ""
