"""Training as its users run it: real processes, real files, real kills."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from helpers import ROOT, flat
from PIL import Image
from tiny_runs import (
    TINY,
    assert_same_arrays,
    devices,
    run,
    saved_steps,
    start,
    tiny_config,
)

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.pipeline import training_batches
from ganimation_jax.evaluation.results import from_json
from ganimation_jax.files import lock
from ganimation_jax.runs.checkpoint import load_weights
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.training import loop, setup

ONE_DEVICE = devices(1)


@pytest.fixture(scope="module")
def unbroken(trained_run):
    return trained_run


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Orbax, restoring without a target
def test_killed_and_continued_equals_unbroken(unbroken, tmp_path):
    with start(tmp_path, *TINY) as process:
        while not (tmp_path / "checkpoints" / "4").exists():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert 4 <= saved_steps(tmp_path)[-1] < 16
    output = run(tmp_path, *TINY)
    assert re.search(r"resuming after step \d+", output)
    assert_same_arrays(tmp_path, unbroken, 16)
    records = [(w / "metrics.jsonl").read_text() for w in (tmp_path, unbroken)]
    assert records[0] == records[1]


@pytest.mark.slow
def test_one_device_continues_what_eight_began(unbroken, tmp_path):
    # Same config, fewer devices: the state restores to the new ones. Later steps are gone.
    shutil.copytree(unbroken, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        if int(path.name) > 12:
            shutil.rmtree(path)
    output = run(tmp_path / "run", *TINY, **ONE_DEVICE)
    assert "resuming after step 12 on 1 cpu device" in output
    last = [
        json.loads(w.read_text().splitlines()[-2])  # before the scores
        for w in (tmp_path / "run" / "metrics.jsonl", unbroken / "metrics.jsonl")
    ]
    assert last[0].keys() == last[1].keys()
    for name in last[0]:
        assert last[0][name] == pytest.approx(last[1][name], rel=1e-3, abs=1e-4), name


@pytest.mark.slow
def test_resident_faces_and_several_steps_a_call_train_the_same(unbroken, tmp_path):
    flags = ("--config.data.resident=True", "--config.steps_per_call=2")
    output = run(tmp_path, *TINY, *flags)
    assert "reading 256 faces onto the devices" in output
    records = [
        [json.loads(line) for line in (w / "metrics.jsonl").read_text().splitlines()]
        for w in (tmp_path, unbroken)
    ]
    # A call of two steps reports their mean.
    losses = [[r["critic/aus"] for r in record if "critic/aus" in r] for record in records]
    assert len(losses[0]) == 8
    np.testing.assert_allclose(losses[0], np.reshape(losses[1], (8, 2)).mean(axis=1), rtol=1e-3)


@pytest.mark.slow
def test_a_finished_run_is_left_as_it_is(unbroken):
    before = (unbroken / "metrics.jsonl").read_text()
    output = run(unbroken, *TINY)
    assert "resuming after step 16" in output
    assert (unbroken / "metrics.jsonl").read_text() == before


@pytest.mark.slow
def test_another_config_is_refused(unbroken):
    output = run(unbroken, *TINY, "--config.lr=0.1", expect=2)
    assert "lr: 0.0004 -> 0.1" in output
    assert f"--config.init_from={unbroken}" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_of_two_runs_in_one_workdir_the_second_is_refused_and_the_first_undisturbed(
    unbroken, tmp_path
):
    both = [start(tmp_path, *TINY) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    refused = next(o for o, process in zip(outputs, both, strict=True) if process.returncode == 2)
    assert "another run is at work in" in refused
    assert "Traceback" not in refused
    assert_same_arrays(tmp_path, unbroken, 16)
    assert (tmp_path / "metrics.jsonl").read_text() == (unbroken / "metrics.jsonl").read_text()


def test_in_process_too_a_workdir_that_is_in_use_is_refused(tmp_path):
    with (
        lock.hold(tmp_path),
        pytest.raises(BlockingIOError, match=f"another run is at work in {tmp_path}"),
    ):
        loop.train(tiny_config(), tmp_path)


@pytest.mark.parametrize("change", ["labels", "order", "more", "fewer"])
def test_other_faces_or_labels_are_not_trained_on_silently(unbroken, change, monkeypatch):
    table = SyntheticFaces.aus_table

    def changed(faces):
        aus = table(faces).copy()
        match change:
            case "labels":
                aus[3, 5] += 1
            case "order":
                aus[[0, 1]] = aus[[1, 0]]
            case "more":
                aus = np.concatenate([aus, aus[:1]])
            case "fewer":
                aus = aus[:-1]
        return aus

    monkeypatch.setattr(SyntheticFaces, "aus_table", changed)
    with pytest.raises(
        ValueError, match=f"trained with other faces.*--config.init_from={unbroken}"
    ):
        loop.train(tiny_config(), unbroken)


@pytest.mark.slow
def test_evaluation_of_a_finished_run(unbroken, tmp_path):
    csvs = tmp_path / "csvs"
    csvs.mkdir()
    for i in range(8):  # what OpenFace would have written for the edits
        header = ", ".join(["face", "confidence", *(f"{unit}_r" for unit in ACTION_UNITS)])
        row = ", ".join(["0", "0.95", *(f"{(i + n) % 6}" for n in range(len(ACTION_UNITS)))])
        (csvs / f"{i:05}.csv").write_text(f"{header}\n{row}\n")
    flags = ("--mode=eval", f"--model={unbroken}", "--write_edits", f"--openface_csv={csvs}")
    out = tmp_path / "out"  # the report of a model need not lie in its folder
    output = run(out, *TINY, *flags)
    found = from_json((out / "report" / "report.json").read_text())
    sections = {section.name: section for section in found.sections}
    assert (found.facts["run"], found.facts["step"]) == (unbroken.name, 16)
    assert found.facts["data"] == "synthetic"
    trained = json.loads((unbroken / "metrics.jsonl").read_text().splitlines()[-1])
    for section, name in (
        ("own_on_edits", "own_on_edits/mae"),
        ("truth", "truth/psnr"),
        ("attention", "attention/mean"),
    ):
        assert flat(sections[section].scores)[name] == pytest.approx(trained[name], rel=1e-5)
    assert flat(sections["truth_on_edits"].scores)["truth_on_edits/mae/copy_target"] == 0
    assert len(list((out / "edits").glob("*.png"))) == 8
    assert np.isfinite(flat(sections["openface_on_edits"].scores)["openface_on_edits/mae"])
    # Everything is measured, or the report says what it would take.
    for section in sections.values():
        assert bool(section.scores) != bool(section.missing), section.name
    assert {"identity", "lpips", "vgg16", "inception", "mediapipe_on_edits"} <= sections.keys()
    assert "controllability_own" in sections
    assert "PSNR to the true edit" in output
    page = (out / "report" / "index.html").read_text()
    assert page.count("<img") == 2
    assert "AU12" in page


@pytest.mark.slow
def test_a_broken_loss_is_told_and_never_saved(tmp_path):
    # Nothing is logged before the end: the check must not wait for that.
    output = run(
        tmp_path,
        *TINY,
        "--config.lr=1e30",
        "--config.every.log=10000",
        "--config.non_finite.patience=3",
        expect=2,
    )
    broken = int(re.search(r"error: not finite at (\d+) images: .*critic/", output)[1])
    assert all(step * 16 < broken for step in saved_steps(tmp_path))
    assert "Traceback" not in output


def test_a_run_that_its_data_break_goes_back_and_goes_on_with_others(tmp_path, monkeypatch, caplog):
    def with_holes(*args, start, **options):
        batches = training_batches(*args, start=start, **options)
        for number, batch in enumerate(batches, start):
            if 6 <= number < 9:
                batch["want"] = np.full_like(batch["want"], np.nan)
            yield batch
        batches.close()

    monkeypatch.setattr(setup, "training_batches", with_holes)
    with caplog.at_level(logging.WARNING, "ganimation_jax"):
        assert loop.train(tiny_config(non_finite__patience=1), tmp_path)
    assert "GOING BACK to step 6: not finite at 112 images: critic/" in caplog.text
    # The seventh and the eighth batch are passed over; the ninth breaks one step more.
    assert caplog.text.count("NOT FINITE") == 3
    note, *weights = load_weights(tmp_path / "checkpoints")
    assert (note["step"], note["drawn"]) == (16, 18)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights))
    records = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = {x["images"]: x["generator/aus"] for x in records if "generator/aus" in x}
    assert list(losses) == [16 * step for step in range(1, 17)]
    assert [images for images, loss in losses.items() if loss is None] == [112]


def test_numbers_that_stay_broken_end_the_run_and_are_named(tmp_path):
    broken = tiny_config(lr=1e30, non_finite__patience=2)
    with pytest.raises(FloatingPointError, match=r"not finite at \d+ images: critic/.*debug_nans"):
        loop.train(broken, tmp_path)


def full_disk(workdir, amount="300k"):
    """A file system with room for little more than the first save."""
    workdir.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={amount}", "tmpfs", workdir], check=False
        ).returncode
    ):
        pytest.skip("mounting a small file system needs root")


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_spares_what_is_saved(unbroken, tmp_path):
    workdir = tmp_path / "full"
    full_disk(workdir, "3m")
    try:
        output = run(workdir, *TINY, expect=2)
        # Orbax's own threads tell of it at length, before, after and in the middle of our line.
        assert re.search(r"\berror: .*(\n.*)*No space left on device", output), output
        kept = saved_steps(workdir)
        assert kept
        # With room again it resumes.
        subprocess.run(["mount", "-o", "remount,size=100m", workdir], check=True)
        output = run(workdir, *TINY)
        assert re.search(r"resuming after step (\d+)", output)[1] in map(str, kept)
        assert_same_arrays(workdir, unbroken, 16)
    finally:
        subprocess.run(["umount", workdir], check=True)


def test_a_workdir_that_cannot_be_written_is_refused_before_compiling(tmp_path):
    (tmp_path / "file").write_text("")
    output = run(tmp_path / "file" / "run", *TINY, expect=2)
    assert "Not a directory" in output
    assert "Traceback" not in output


def test_evaluation_needs_a_checkpoint(tmp_path):
    output = run(tmp_path, *TINY, "--mode=eval", expect=2)
    assert "no checkpoint in" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--config=configs/synthetic.py", "--config.batchsize=8"), "batch_size"),
        (("--config=configs/synthetic.py", "--config.batch_size=12"), "not divisible by 8 devices"),
        (("--config=configs/emotionet.py", "--config.batch_size=8"), "--config.data.dir=DIR"),
        (("--workdir=x",), "give --config="),
    ],
)
def test_bad_commands_end_before_compiling(tmp_path, flags, message):
    with start(tmp_path, *flags) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert message in output


@pytest.mark.slow
def test_smoke_config_end_to_end(tmp_path):
    output = run(
        tmp_path, "--config=configs/synthetic.py:smoke", "--config.wandb.mode=offline", **ONE_DEVICE
    )
    assert "256/256 images" in output
    records = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [record["critic/aus"] for record in records if "critic/aus" in record]
    assert losses[-1] < losses[0]  # the critic learns to read action units
    assert any("own_on_edits/mae" in record for record in records)
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"8", "16"}
    for images in (128, 256):
        grid = np.asarray(Image.open(tmp_path / "samples" / f"samples-{images:08d}.png"))
        assert grid.shape[0] > 12 * 96
        assert grid.std() > 20  # a picture, not a blank
    assert list(tmp_path.glob("wandb/offline-run-*"))


@pytest.mark.slow
def test_a_user_without_a_home_can_train(tmp_path):
    """As in a container that is started for a user without an account."""
    alone = ["unshare", "-U", "--map-user=12345", "--map-group=12345"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("user namespaces are needed")
    known = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    known["WANDB_SILENT"] = "true"
    flags = [flag for flag in TINY if "wandb" not in flag]
    few = ["--config.epochs=0.0625", "--config.wandb.mode=offline"]
    program = [sys.executable, "-m", "ganimation_jax", "train", f"--workdir={tmp_path / 'run'}"]
    done = subprocess.run(
        ["env", "-u", "HOME", *alone, *program, *flags, *few],
        cwd=ROOT,
        env=known | devices(1),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert saved_steps(tmp_path / "run") == [1]
    assert list(tmp_path.glob("run/wandb/offline-run-*/*.wandb"))
