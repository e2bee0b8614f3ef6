"""Eight virtual CPU devices, one compilation cache, checked types, tiny networks to share."""

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".pytest_cache" / "xla"
# Before anything imports jax; processes that tests start inherit it.
os.environ |= {
    "JAX_PLATFORMS": "cpu",
    # Compilation is most of the suite's time. The fusion emitters run an MLIR pipeline for each of
    # a step's 700 kernels: without them it compiles in a quarter of the time.
    "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    " --xla_cpu_use_fusion_emitters=false --xla_llvm_disable_expensive_passes=true",
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    "WANDB_MODE": "disabled",
}
# What instruments read in earlier runs must not hide a fault. Weights stay where they are.
if "GANIMATION_JAX_CACHE" not in os.environ:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ["GANIMATION_JAX_CACHE"] = str(caches / "ganimation_jax" / "weights")
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="ganimation-tests-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

from jaxtyping import install_import_hook

# Rooms and files whose annotations, shapes included, are checked at each call in tests. Before
# anything imports them. The rest of `animation` is given stand-ins of an Animator.
ROOMS = ("bench", "evaluation", "features", "interop", "methods", "models", "steps")
FILES = ("animator", "editing", "loading", "pasting", "photo_like", "recipes")
FILES += ("splines", "targets", "tracking")
CHECKED = [*ROOMS, *(f"animation.{file}" for file in FILES)]
install_import_hook([f"ganimation_jax.{name}" for name in CHECKED], "typechecker.check")

import jax
import numpy as np
import pytest
from absl import flags
from helpers import BATCH, N_CRITIC, SIZE, UNITS
from helpers import tiny_config as tiny_networks
from tiny_runs import tiny_config

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.methods import ganimation
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.steps import updates
from ganimation_jax.types import Batch, Model, Optimizer, State

pytest_plugins = ("browser_page", "edit_command")  # fixtures

NETWORKS = Generator(width=4, residual_blocks=1), Critic(UNITS, width=4)


def pytest_collection_modifyitems(items):
    for item in items:
        if {"torch", "torch_ganimation"} & set(item.fixturenames):
            item.add_marker("torch")


def pytest_configure():
    flags.FLAGS.mark_as_parsed()  # Grain's worker processes read absl flags


@pytest.fixture(scope="session")
def model() -> Model:
    return ganimation.model_of(*NETWORKS, ACTION_UNITS, SIZE)


@pytest.fixture(scope="session")
def objectives() -> ganimation.Objectives:
    return ganimation.objectives(*NETWORKS)


@pytest.fixture(scope="session")
def optimizers() -> dict[str, Optimizer]:
    from configs import emotionet

    return ganimation.build_optimizers(emotionet.get_config(), epoch=1000)


@pytest.fixture(scope="session")
def initial_state(model, optimizers) -> State:
    """On the host: tests put it where they need it, and steps donate the copy."""
    return jax.device_get(jax.jit(updates.make_init(model, optimizers))(jax.random.key(0)))


@pytest.fixture(scope="session")
def batch() -> Batch:
    rng = np.random.default_rng(0)
    shape = (N_CRITIC, BATCH)
    return Batch(
        image=rng.integers(0, 256, (*shape, SIZE, SIZE, 3), np.uint8),
        have=rng.random((*shape, UNITS), np.float32),
        want=rng.random((*shape, UNITS), np.float32),
    )


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Path:
    """The workdir of a finished tiny run, trained once for all workers: copy it to change it."""
    of_all_workers = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        of_all_workers = of_all_workers.parent
    with (of_all_workers / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        workdir, whole = of_all_workers / "trained", of_all_workers / "trained.whole"
        if not whole.exists():
            from ganimation_jax.training import loop

            loop.train(tiny_config(), workdir)
            whole.touch()
    return workdir


@pytest.fixture(scope="module")
def plain_convolutions():
    """XLA's convolutions: a step compiles in half the time that the CPU's implementations take."""
    with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed):
        yield


@pytest.fixture(scope="module")
def train_step(objectives, optimizers):
    """Compiled for one device; with the convolutions that the module uses."""
    return jax.jit(ganimation.step(objectives, optimizers))


@pytest.fixture(scope="session")
def average_run(tmp_path_factory, initial_state) -> Path:
    """A run whose moving average differs from the generator itself."""
    from ganimation_jax.interop.torch_import import write_run

    folder = tmp_path_factory.mktemp("average") / "run"
    state = initial_state.replace(ema=jax.tree.map(lambda x: x * 1.5, initial_state.ema))
    write_run(folder, tiny_networks(dir="/home/somebody/faces", grey=True), state)
    return folder


@pytest.fixture
def packed(average_run, tmp_path) -> Path:
    """The same as a file to share, written by the command."""
    from ganimation_jax.interop import export

    (tmp_path / "about.json").write_text('{"licence": "research only", "data": "nobody"}')
    out = tmp_path / "tiny.safetensors"
    flags = ["--format", "safetensors", "--about", str(tmp_path / "about.json")]
    assert export.main(["--workdir", str(average_run), "--out", str(out), *flags]) == 0
    return out
