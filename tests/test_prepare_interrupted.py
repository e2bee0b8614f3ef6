"""Prepare on a full disk, and killed and run again."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prepare_folders import (
    draw,
    look,
    make_input,
    prepare,
    write_csv,
)


@pytest.mark.parametrize(
    ("stage", "kilobytes", "size", "workers"),
    [("crops", 1, 256, 1), ("crops", 1, 256, 2), ("packing", 55, 32, 1)],
)
def test_full_disk_stops_the_run_and_leaves_nothing_torn(tmp_path, stage, kilobytes, size, workers):
    """A limit on the size of files stands in for the disk."""
    make_input(tmp_path, count=70)  # enough for two processes
    command = (
        f"ulimit -f {kilobytes}; {sys.executable} -m ganimation_jax.prepare openface"
        f" --images {tmp_path}/imgs --csv {tmp_path}/csv --out {tmp_path}/out"
        f" --size {size} --workers {workers}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert ("packing" in done.stderr) == (stage == "packing")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out/annotated_faces").exists()
    for crop in (tmp_path / "out/crops").iterdir():
        look(crop)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["crops", "packing"])
def test_killed_and_rerun_equals_uninterrupted(tmp_path, moment):
    count = 300
    for number in range(count):
        draw(tmp_path / f"imgs/{number:03d}.jpg", side=200, seed=number)
        write_csv(tmp_path / f"csv/{number:03d}.csv", seed=number)
    assert prepare(tmp_path, out="whole", workers=1) == 0

    command = [
        *(sys.executable, "-m", "ganimation_jax.prepare", "openface", "--images"),
        *(tmp_path / "imgs", "--csv", tmp_path / "csv", "--out", tmp_path / "out"),
        *("--size", "32", "--workers", "2"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    crops, packing = tmp_path / "out/crops", tmp_path / "out/.packing"
    started = {"crops": lambda: len(list(crops.glob("0*.jpg"))) > 20, "packing": packing.exists}
    while not started[moment]():
        assert process.poll() is None, "finished before it was killed"
        time.sleep(0.001)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    orphans = workers.read_text().split() if workers.exists() else []
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out/annotated_faces").exists()
    done = len(list(crops.glob("*.jpg")))
    assert done < count if moment == "crops" else done == count

    deadline = time.monotonic() + 10  # the workers go too
    while any(running(pid) for pid in orphans):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert prepare(tmp_path, workers=2) == 0
    assert not packing.exists()
    assert [path.name for path in crops.iterdir() if path.suffix != ".jpg"] == []
    whole, rerun = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        for folder in (tmp_path / "whole", tmp_path / "out")
    )
    assert whole.keys() == rerun.keys()
    assert [name for name in whole if whole[name] != rerun[name]] == []


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
