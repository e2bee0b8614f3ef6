import contextlib
import json
import logging
import math
import os
import random
import shutil
import subprocess
import sys
import textwrap
import time

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from helpers import ROOT, assert_trees_close

from ganimation_jax.parallel import sharding
from ganimation_jax.runs import seals
from ganimation_jax.runs.checkpoint import Checkpoints, load_weights
from ganimation_jax.runs.seals import DIGESTS, is_sealed
from ganimation_jax.types import State


def state_of(value: float) -> State:
    array = np.full((8, 64), value, np.float32)
    return State(
        step=np.int32(value),
        nets={"generator": {"kernel": array}, "critic": {"kernel": array + 2}},
        opt={"generator": (array + 1,), "critic": (array + 3,)},
        ema={"generator": {"kernel": array + 4}},
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


def restore(folder, options=None, **placement):
    checkpoints = Checkpoints(folder, **(options or {}))
    restored = checkpoints.restore(target(**placement))
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
    assert notes == [{"step": 3, "layout": 2, "config": {"lr": 1e-4}}]


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
    assert len(restored.ema["generator"]["kernel"].sharding.device_set) == devices
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


@pytest.mark.parametrize("part", ["state/_METADATA", "metrics/metrics"])
def test_all_damaged_is_an_error_not_a_fresh_start(folder, part):
    options = {"best": 1, "metric": "mae"}
    save(folder, [1], scores={1: 0.5}, **options)
    (folder / "1" / part).write_text("")
    with pytest.raises(FileNotFoundError, match="all checkpoints in .* are damaged"):
        restore(folder, options)


@pytest.mark.parametrize(
    "text", ["", "{}", "5", "[]", "null", '{"state": 1}', "{", "\x00", "[" * 9999]
)
def test_damaged_digests_are_a_damaged_checkpoint(folder, text):
    save(folder, [1, 2])
    (folder / "2" / DIGESTS).write_text(text)
    assert load_weights(folder)[0]["step"] == 1
    assert restore(folder)[0]["step"] == 1


@pytest.mark.parametrize("change", ["less", "more", "another"])
def test_digests_cannot_be_switched_off_in_part(folder, change):
    save(folder, [1, 2])
    path = folder / "2" / DIGESTS
    digests = json.loads(path.read_text())
    if change == "less":
        digests = {name: digest for name, digest in digests.items() if "/d/" not in name}
        flip_a_byte(folder / "2")
    elif change == "more":
        digests["state/d/gone"] = "0" * 64
    else:
        digests["note/metadata"] = 7
    path.write_text(json.dumps(digests))
    assert restore(folder)[0]["step"] == 1


def damage_somewhere(folder, rng):
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    data = bytearray(path.read_bytes())
    match rng.choice(["flip", "cut", "zeros", "noise", "delete"]):
        case "flip":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case "cut":
            del data[rng.randrange(len(data)) :]
        case "zeros":
            data = bytearray(len(data))
        case "noise":
            data = bytearray(rng.randbytes(len(data)))
        case "delete":
            path.unlink()
            return
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damages", [pytest.param(range(6)), pytest.param(range(6, 100), marks=pytest.mark.slow)]
)
# Orbax leaves tasks behind where it fails to read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("sealed", [True, False])
def test_any_damage_gives_way_to_the_checkpoint_before(tmp_path, sealed, damages):
    options = {"best": 1, "metric": "mae"}
    save(tmp_path / "whole", [1, 2], scores={1: 0.5, 2: 0.4}, **options)
    for number in damages:
        rng = random.Random(number)
        folder = tmp_path / str(number) / "checkpoints"
        shutil.copytree(tmp_path / "whole", folder)
        if not sealed:
            (folder / "2" / DIGESTS).unlink()
        damage_somewhere(folder / "2", rng)
        read = load_weights(folder)[0]
        note, state = restore(folder, options)
        assert {read["step"], note["step"]} <= {1, 2}, number
        if sealed or note["step"] == 1:
            assert read["step"] == note["step"] or not sealed
            assert_trees_close(state, state_of(note["step"]), rtol=0)
        assert (note["step"] == 1) == (folder.parent / "damaged" / "2-0").exists()


def test_another_metric_may_decide_which_is_best(folder):
    save(folder, [1, 2], scores={1: 0.5, 2: math.nan}, best=1, metric="mae")
    save(folder, [3], best=1, metric="psnr")
    assert restore(folder, {"best": 1, "metric": "psnr"})[0]["step"] == 3


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
    checkpoints = Checkpoints(Path(sys.argv[1]), latest=2)
    print("ready", flush=True)
    for step in range(1, 10_000):
        checkpoints.save(step, state_of(step), {})
    """
)


@contextlib.contextmanager
def saving_forever(folder):
    with subprocess.Popen(
        [sys.executable, "-c", SAVE_FOREVER, str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_kill_during_a_save_never_leaves_half_a_checkpoint_nor_one_without_digests(tmp_path):
    rng = np.random.default_rng(0)
    for attempt in range(4):
        folder = tmp_path / str(attempt) / "checkpoints"
        with saving_forever(folder):
            while not list(folder.glob("[1-9]*")):
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.5))
        complete = [path for path in folder.iterdir() if path.name.isdecimal()]
        # One that is being deleted may have lost its digests first; never the newest.
        if complete:
            assert is_sealed(max(complete, key=lambda path: int(path.name)))
        restored = restore(folder)
        if restored:
            note, state = restored
            assert_trees_close(state, state_of(note["step"]), rtol=0)
        assert not (folder.parent / "damaged").exists()


@pytest.mark.slow
def test_weights_of_a_live_run_are_read_while_it_saves_and_deletes(tmp_path, caplog):
    folder = tmp_path / "checkpoints"
    with saving_forever(folder) as process:
        while load_weights(folder) is None:
            time.sleep(0.01)
        seen = []
        for _ in range(30):
            note, _, ema = load_weights(folder)
            np.testing.assert_array_equal(ema["generator"]["kernel"], note["step"] + 4)
            seen.append(note["step"])
        assert process.poll() is None
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
    assert "DAMAGED" not in caplog.text


def test_a_step_that_is_deleted_while_it_is_read_gives_way_to_the_newer(
    folder, monkeypatch, caplog
):
    save(folder, [1])
    save(folder.with_name("later"), [2])
    read = seals.read

    def too_late(step, *args):
        if step.name == "1":
            shutil.rmtree(step)
            shutil.copytree(folder.with_name("later") / "2", folder / "2")
        return read(step, *args)

    monkeypatch.setattr(seals, "read", too_late)
    assert load_weights(folder)[0]["step"] == 2
    assert not caplog.records


def test_a_state_of_version_01_comes_back_in_todays_form(tmp_path):
    """Saved as that version did: a generator and a critic, each with its optimiser's state."""
    rng = np.random.default_rng(0)
    params = {
        name: {"conv": {"kernel": rng.random((3, 4), np.float32)}}
        for name in ("generator", "critic")
    }
    adam = optax.adam(1e-3)
    old = {
        "step": np.int32(7),
        "ema": {"conv": {"kernel": rng.random((3, 4), np.float32)}},
        **{name: {"params": p, "opt_state": adam.init(p)} for name, p in params.items()},
    }
    old["critic"]["opt_state"][0].mu["conv"]["kernel"] += 2
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        note = ocp.args.JsonSave({"step": 7, "config": {}})
        args = ocp.args.Composite(state=ocp.args.StandardSave(old), note=note)
        manager.save(7, args=args)
    target = State(
        step=np.int32(0),
        nets=params,
        opt={name: adam.init({name: p}) for name, p in params.items()},
        ema={"generator": params["generator"]},
    )
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    _, state = checkpoints.restore(jax.eval_shape(lambda: target))
    checkpoints.close()
    assert_trees_close(state.nets, params, rtol=0)
    np.testing.assert_array_equal(
        state.ema["generator"]["conv"]["kernel"], old["ema"]["conv"]["kernel"]
    )
    np.testing.assert_array_equal(state.opt["critic"][0].mu["critic"]["conv"]["kernel"], 2)
    note, nets, ema = load_weights(tmp_path / "checkpoints")
    assert note["step"] == 7
    assert_trees_close(nets, params, rtol=0)
    assert_trees_close(ema, {"generator": old["ema"]}, rtol=0)
