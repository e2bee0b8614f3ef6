"""A thousand mutated files: each is read, or refused in one sentence, in bounded memory."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, ImageCms
from test_prepare import intensities
from test_prepare_openface import DIALECTS

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.prepare.readout import FEATURES, Fit, Readout

CHILD = Path(__file__).with_name("fuzz_child.py")
PRETRAINED = ROOT / "ganimation_jax" / "pretrained"


def pictures(folder):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(folder / "a.jpg", exif=exif, icc_profile=profile)
    image.save(folder / "progressive.jpg", progressive=True)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("RGBA").save(folder / "a.png", icc_profile=profile)
    image.convert("P").save(folder / "palette.png", transparency=0)
    Image.fromarray(rng.integers(0, 65_536, (9, 9)).astype(np.uint16)).save(folder / "deep.png")
    image.save(folder / "a.gif")
    image.save(folder / "a.webp", exif=exif)
    image.save(folder / "lossless.webp", lossless=True)
    for compression in ("raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate"):
        image.save(folder / f"{compression}.tif", compression=compression)
    for name in ("a.bmp", "a.ppm", "a.jp2", "a.avif"):
        image.save(folder / name)


def csvs(folder):
    for number, content in enumerate(DIALECTS.values()):
        (folder / f"{number}.csv").write_bytes(content.replace(b"0.975", b"0.9"))


def pickles(folder):
    arrays = {f"{number:03d}": intensities(number) for number in range(3)}
    lists = {name: array.tolist() for name, array in arrays.items()}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (folder / f"arrays{protocol}.pkl").write_bytes(pickle.dumps(arrays, protocol))
        (folder / f"lists{protocol}.pkl").write_bytes(pickle.dumps(lists, protocol))


def npzs(folder):
    codes = ACTION_UNITS[:2]
    table = dict.fromkeys(codes, 0.5)
    fit = Fit(np.ones((FEATURES, 2)), np.zeros(2))
    Readout(codes, fit, {"r": table, "ccc": table, "faces": 9}).save(folder / "a.npz")
    with np.load(folder / "a.npz") as arrays:
        np.savez_compressed(folder / "compressed.npz", **arrays)


def pths(folder):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
    state = {"a.weight": torch.randn(3, 4, 2, 2), "a.bias": torch.zeros(3).half()}
    for name, zipped in {"zip.pth": True, "old.pth": False}.items():
        torch.save(state, folder / name, _use_new_zipfile_serialization=zipped)


def jsonls(folder):
    records = [{"images": 64 * step, "loss": 1 / (step + 1), "x/y": None} for step in range(20)]
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(text)


def cards(folder):
    for suffix in (".json", ".safetensors"):
        shutil.copy(PRETRAINED / f"lfw-64{suffix}", folder / f"a{suffix}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "write", "count"),
    [
        ("picture", pictures, 300),
        ("csv", csvs, 200),
        ("pickle", pickles, 200),
        ("npz", npzs, 100),
        ("pth", pths, 100),
        ("jsonl", jsonls, 60),
        ("card", cards, 40),
    ],
)
def test_mutated_files_are_read_or_refused(tmp_path, kind, write, count):
    folder = tmp_path / kind
    folder.mkdir()
    write(folder)
    seed = int(os.environ.get("FUZZ_SEED", "0"))
    command = [sys.executable, str(CHILD), kind, str(seed), str(count), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith(f"read {count}\n")
