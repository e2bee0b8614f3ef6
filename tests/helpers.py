"""What several test files share: sizes, folders of ../shared, small networks, a portrait."""

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.faces.landmarker import FACE_LANDMARKER
from ganimation_jax.files import assets
from ganimation_jax.files.assets import locate
from ganimation_jax.logs.alerts import Alert
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
SHEETS = SHARED / "data" / "synthetic_portraits"
GOLDENS = Path(os.environ.get("GANIMATION_GOLDENS", SHARED / "goldens"))
# Of the state and the batch that conftest makes.
SIZE, N_CRITIC, BATCH, UNITS = 16, 2, 8, 17


def assert_trees_close(actual, expected, **tolerance):
    """Every leaf, with its path in the message."""
    expected = dict(jax.tree_util.tree_leaves_with_path(expected))
    for path, leaf in jax.tree_util.tree_leaves_with_path(actual):
        np.testing.assert_allclose(
            leaf, expected[path], err_msg=jax.tree_util.keystr(path), **tolerance
        )


def flat(scores):
    """Values of scores by key; below it, ``/se``, their standard errors."""
    found = {}
    for score in scores:
        assert score.key not in found
        found |= {score.key: score.value, f"{score.key}/se": score.se}
    return found


# Small networks


def tiny_config(**data):
    return {
        "method": "ganimation",
        "action_units": list(ACTION_UNITS),
        "image_size": SIZE,
        "generator": {"width": 4, "residual_blocks": 1},
        "critic": {"width": 4},
        "data": data,
    }


def small_generator(**options):
    """A generator of random weights under PyTorch's names; needs no golden file."""
    units = options.pop("units", 17)
    generator = Generator(**{"width": 4, "residual_blocks": 1} | options)
    inputs = np.zeros((1, 16, 16, 3), np.float32), np.zeros((1, units), np.float32)
    return generator, random_like(generator, *inputs)


def small_critic(units=17, depth=3, size=32):
    critic = Critic(units, 4, depth)
    return critic, random_like(critic, np.zeros((1, size, size, 3), np.float32))


def random_like(network, *inputs):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    return jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), shapes)


def import_small(critic=True, **options):
    """Config and state of a small run, imported from state dicts as the published code has them."""
    from ganimation_jax.interop.torch_export import state_dicts
    from ganimation_jax.interop.torch_import import import_published

    nets = {"generator": small_generator()[1]} | ({"critic": small_critic()[1]} if critic else {})
    return import_published("ganimation", state_dicts("ganimation", nets), **options)


def noise_run(folder):
    """A run whose generator and critic are noise: an edit is sure to change the picture."""
    from ganimation_jax.interop.torch_import import write_run

    write_run(folder, *import_small())
    return folder


# Portraits

MEDIAPIPE_LOADS = {
    "libEGL.so.1": "libegl1",
    "libGLESv2.so.2": "libgles2",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
}


def mediapipe_missing():
    """Why MediaPipe cannot be used here; empty if it can."""
    if importlib.util.find_spec("mediapipe") is None:
        return "MediaPipe is not installed (extra annotate)"
    for library, package in MEDIAPIPE_LOADS.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            return f"MediaPipe needs {library}: apt-get install {package}"
    try:
        locate(FACE_LANDMARKER)
    except FileNotFoundError as error:
        return str(error)
    return ""


WHY_NOT = mediapipe_missing() or ("" if SHEETS.exists() else f"no portraits at {SHEETS}")
needs_mediapipe = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-")


def portrait(side=700, angle=0):
    """One generated face with its surroundings, of the sheet with two."""
    with Image.open(SHEETS / "SFHQ_sample_1x2.jpg") as sheet:
        face = sheet.crop((0, 0, sheet.height - 119, sheet.height)).resize((side, side))
    return face.convert("RGB").rotate(angle, Image.Resampling.BICUBIC, fillcolor="grey")


# Reads the first pixel: red is AU12, green AU04, blue below 128 is no face. As OpenFace's
# FaceLandmarkImg does, it writes a row a face and, without one, no file.
OPENFACE = """#!{python}
import pathlib, sys
from PIL import Image
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert sys.argv[-1] == "-aus"
out = pathlib.Path(arguments["-out_dir"])
out.mkdir(parents=True)
for path in pathlib.Path(arguments["-fdir"]).glob("*.png"):
    red, green, blue = Image.open(path).getpixel((0, 0))
    if blue >= 128:
        (out / (path.stem + ".csv")).write_text(
            "face, confidence, AU04_r, AU12_r, AU12_c\\n"
            "0, 0.3, 5.00, 5.00, 1\\n"
            f"1, 0.98, {{green / 51:.2f}}, {{red / 51:.2f}}, 1\\n"
        )
"""


def openface_double(folder, text=OPENFACE, name="FaceLandmarkImg"):
    """A program in place of OpenFace's: its path."""
    path = folder / name
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)
    return path


WANDB = {"mode": "disabled", "project": "", "group": "", "name": ""}
ALERT = Alert(20, "attention_near_1", True, 0.995, 0.99, "ATTENTION_NEAR_1: nothing shows")


def turn(degrees, scale=1.0, shift=(0.0, 0.0)):
    """Clockwise in a picture, whose y points down."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([(c, -s, shift[0]), (s, c, shift[1])])


def ramp(side=400):
    """Red counts columns and green rows: a pixel says where it was."""
    y, x = np.mgrid[:side, :side] + 0.5
    return np.stack([x / 2, y / 2, np.full_like(x, 9)], axis=-1).round().astype(np.uint8)


def available(asset):
    try:
        assets.locate(asset)
    except FileNotFoundError:
        return False
    return True


def needs(module):
    """Skips where the weights are not; never downloads."""
    found = available(module.ASSET._replace(url=""))
    return pytest.mark.skipif(not found, reason=f"no weights: {module.ASSET.get}")
