import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time

import jax
import numpy as np
import pytest
from helpers import ROOT, assert_trees_close

from ganimation_jax.parallel import sharding
from ganimation_jax.runs.checkpoint import DIGESTS, Checkpoints
from ganimation_jax.types import GanState, NetState


def state_of(value: float) -> GanState:
    array = np.full((8, 64), value, np.float32)
    return GanState(
        step=np.int32(value),
        generator=NetState({"kernel": array}, (array + 1,)),
        critic=NetState({"kernel": array + 2}, (array + 3,)),
        ema={"kernel": array + 4},
    )


def target(devices=1, fsdp=1):
    mesh = sharding.make_mesh(fsdp, jax.devices()[:devices])
    state = state_of(0)
    return sharding.with_sharding(state, sharding.state_sharding(mesh, state))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def save(folder, steps, scores=None, **options):
    checkpoints = Checkpoints(folder, **options)
    for step in steps:
        metrics = {"mae": scores[step]} if scores and step in scores else None
        checkpoints.save(step, state_of(step), {"config": {"lr": 1e-4}}, metrics)
    checkpoints.close()


def restore(folder, **options):
    checkpoints = Checkpoints(folder)
    restored = checkpoints.restore(target(**options))
    checkpoints.close()
    return restored


def kept(folder):
    return sorted(int(path.name) for path in folder.iterdir())


def test_nothing_to_restore(folder):
    assert restore(folder) is None


def test_state_and_note_come_back(folder):
    save(folder, [3])
    notes = []
    checkpoints = Checkpoints(folder)
    note, state = checkpoints.restore(target(), check=notes.append)
    checkpoints.close()
    assert note["step"] == 3
    assert_trees_close(state, state_of(3), rtol=0)
    assert notes == [note]
    assert notes == [{"step": 3, "config": {"lr": 1e-4}}]


def test_the_latest_and_the_best_are_kept_also_after_a_restart(folder):
    options = {"latest": 2, "best": 1, "metric": "mae"}
    save(folder, [1, 2, 3, 4], scores={1: 0.5, 2: 0.1, 3: 0.3}, **options)
    assert kept(folder) == [2, 3, 4]
    save(folder, [5, 6, 7], scores={5: 0.2}, **options)
    assert kept(folder) == [2, 6, 7]


@pytest.mark.parametrize(("devices", "fsdp"), [(1, 1), (4, 2), (8, 8)])
def test_another_number_of_devices(folder, monkeypatch, devices, fsdp):
    monkeypatch.setattr(sharding, "LARGE", 64)
    mesh = sharding.make_mesh(4)
    state = state_of(5)
    placed = jax.device_put(state, sharding.state_sharding(mesh, state))
    checkpoints = Checkpoints(folder)
    checkpoints.save(5, placed, {})
    checkpoints.close()
    _, restored = restore(folder, devices=devices, fsdp=fsdp)
    assert len(restored.ema["kernel"].sharding.device_set) == devices
    assert_trees_close(restored, state, rtol=0)


def flip_a_byte(folder):
    path = max((folder / "state").rglob("d/*"), key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


@pytest.mark.parametrize("damage", [flip_a_byte, empty])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(folder, damage, caplog):
    save(folder, [1, 2])
    damage(folder / "2")
    with caplog.at_level(logging.ERROR, "ganimation_jax"):
        note, state = restore(folder)
    assert note["step"] == 1
    assert_trees_close(state, state_of(1), rtol=0)
    assert "CHECKPOINT 2 IS DAMAGED" in caplog.text
    assert [path.name for path in (folder.parent / "damaged").iterdir()] == ["2-0"]
    save(folder, [2])  # its place is free again
    assert restore(folder)[0]["step"] == 2


def test_all_damaged_is_an_error_not_a_fresh_start(folder):
    save(folder, [1])
    flip_a_byte(folder / "1")
    with pytest.raises(FileNotFoundError, match="all checkpoints in .* are damaged"):
        restore(folder)


def test_a_checkpoint_that_was_not_sealed_is_used_and_then_sealed(folder):
    save(folder, [1])
    (folder / "1" / DIGESTS).unlink()
    assert restore(folder)[0]["step"] == 1
    assert json.loads((folder / "1" / DIGESTS).read_text())


SAVE_FOREVER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    sys.path.insert(0, "tests")
    import conftest
    from test_checkpoint import state_of
    from ganimation_jax.runs.checkpoint import Checkpoints
    checkpoints = Checkpoints(Path(sys.argv[1]))
    print("ready", flush=True)
    for step in range(1, 10_000):
        checkpoints.save(step, state_of(step), {})
    """
)


@pytest.mark.slow
def test_kill_during_a_save_never_leaves_half_a_checkpoint(tmp_path):
    rng = np.random.default_rng(0)
    for attempt in range(3):
        folder = tmp_path / str(attempt) / "checkpoints"
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(folder)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        ) as process:
            process.stdout.readline()
            while not list(folder.glob("*.orbax-checkpoint-tmp")):  # in the middle of one
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        restored = restore(folder)
        if restored:
            note, state = restored
            assert_trees_close(state, state_of(note["step"]), rtol=0)
        assert not (folder.parent / "damaged").exists()
