"""The command line: which config is meant, what is wrong with it, from any folder."""

import os
import re
import subprocess
import sys
import tarfile

import pytest
from helpers import ROOT

from ganimation_jax import __main__, config_words
from ganimation_jax.parallel import large_pages


def check(*words, cwd=ROOT, **environment):
    """Exit code and output of a training command that only looks at its flags."""
    command = [sys.executable, "-m", "ganimation_jax.main", *words, "--only_check_args"]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--config=configs/nope.py"], "there is no file configs/nope.py; the library has the con"),
        (["--config=../configs/nope"], "there is no file ../configs/nope"),
        (["--config=configs"], "there is no file configs; the library has the configs celeba, cyc"),
        (["--config=emotionet:no"], "no preset 'no' in configs/emotionet.py; there are: paper, of"),
        (["--config=celeba", "--config.batchsize=3"], "has no field 'batchsize'. Did you mean"),
        (["--config=celeba", "--config.loss={'auz': 3}"], "the config has no field 'auz'"),
        (["--config=celeba", "--config.loss={aus: 3}"], "{aus: 3} is no dictionary of fields; wri"),
        (["--config=celeba", "--config.loss={3: 3}"], "{3: 3} is no dictionary of fields; write "),
        (["--config=celeba", "--config.loss=5"], "is not a dict"),
        (["--config=celeba", "--config.lr=abc"], "could not convert string to float: 'abc'"),
        (["--config"], "--config needs a value"),
        (["--mode=evil"], "value should be one of <train|eval>"),
    ],
)
def test_what_is_wrong_is_one_sentence(words, says, tmp_path):
    code, output = check(*words, f"--workdir={tmp_path}")
    assert code == 2
    assert output.startswith("error: ")
    assert len(output.splitlines()) == 1
    assert says in output


def test_sections_are_merged_and_fields_may_stand_first(tmp_path):
    words = ["--config.lr=0.5", "--config.loss={'aus': 3.5, 'attention_norm': 'l1'}", "--config"]
    prepared = config_words.prepare([*words, "emotionet:recommended", "--workdir=x"])
    assert prepared[1:] == [
        "--config.lr=0.5",
        "--config.loss.aus=3.5",
        "--config.loss.attention_norm=l1",
        "--workdir=x",
    ]
    assert prepared[0].endswith("/configs/emotionet.py:recommended")
    nested = config_words.prepare(["--config.a={'b': {'c': (1, 2), 'd': None}, 'e': 1e-4}"])
    assert nested == ["--config.a.b.c=(1, 2)", "--config.a.b.d=None", "--config.a.e=0.0001"]
    assert check("--workdir=x", *words, "celeba") == (0, "")


@pytest.mark.parametrize("name", ["configs/celeba.py", "celeba", "celeba.py", "configs/celeba"])
def test_configs_of_the_library_are_found_from_anywhere(tmp_path, name):
    assert check(f"--config={name}", cwd=tmp_path) == (0, "")


def test_a_config_of_ones_own_builds_on_one_of_the_library(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base.py").write_text("RATE = 0.25\n")
    (tmp_path / "mine.py").write_text(
        "from configs import base, emotionet\n"
        "def get_config():\n"
        "    cfg = emotionet.get_config()\n"
        "    cfg.lr = base.RATE\n"
        "    return cfg\n"
    )
    assert check("--config=mine.py", "--config.lr=1", cwd=tmp_path) == (0, "")


def test_devices_that_are_not_there_are_one_sentence(tmp_path):
    flags = ["--config=synthetic:smoke", f"--workdir={tmp_path}"]
    for program in (["ganimation_jax", "train"], ["ganimation_jax.main", "--mode=eval"]):
        done = subprocess.run(
            [sys.executable, "-m", *program, *flags],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cuda"},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 2
        assert "error: JAX finds no device with JAX_PLATFORMS='cuda'" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["eval", "-h"]])
def test_help_is_read_without_jax(words, capsys):
    code = (
        "import sys; from ganimation_jax.__main__ import main; main(sys.argv[1:]);"
        "assert not {'jax', 'grain', 'wandb'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: ganimation ")
    assert max(map(len, done.stdout.splitlines())) <= 100
    if words[0] == "train":
        assert all(f"--{flag}" in done.stdout for flag in ("config", "workdir", "coordinator"))


def test_unknown_commands_are_refused(capsys):
    assert __main__.main(["teach"]) == 2
    assert "no command 'teach'; choose from edit, read, web" in capsys.readouterr().err


# Large pages

SHOW = (
    "import os, signal, sys\n"
    "from ganimation_jax.parallel import large_pages\n"
    "large_pages.restart_with_large_pages()\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
    "print(os.environ.get('GLIBC_TUNABLES'), os.getpid(), *sys.argv[1:], flush=True)\n"
    "sys.stdin.read() or sys.exit(3)\n"
)


def shown(**environment):
    known = {name: x for name, x in os.environ.items() if name != "GLIBC_TUNABLES"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SHOW, "a b", "--c=*"],
        cwd=ROOT,
        env=known | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(not large_pages._helps(), reason="glibc or kernel has no large pages")
def test_a_restart_keeps_process_arguments_signals_and_exit_code():
    with shown() as process:
        assert process.stdout.readline() == f"glibc.malloc.hugetlb=1 {process.pid} a b --c=*\n"
        process.terminate()
        assert process.wait(20) == 75
    with shown() as process:
        process.communicate()
        assert process.returncode == 3
    with shown(GLIBC_TUNABLES="glibc.malloc.perturb=0") as process:
        assert process.stdout.readline().startswith("glibc.malloc.perturb=0 ")


# The wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The library as pip installs it, without its dependencies, and nothing of the clone."""
    pytest.importorskip("setuptools", reason="builds a wheel")
    folder = tmp_path_factory.mktemp("wheel")
    archive = folder / "clone.tar"
    files = subprocess.run(
        ["git", "ls-files", "-z", "ganimation_jax", "configs", "*.toml", "*.md", "LICENSE", "*.py"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    with tarfile.open(archive, "w") as tar:
        for name in filter(None, files):
            if (ROOT / name).exists():
                tar.add(ROOT / name, name)
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "clone", filter="data")
    site = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--target", site, folder / "clone"],
        check=True,
    )  # fmt: skip
    return site


@pytest.mark.slow
def test_the_wheel_has_the_configs_and_trains_from_another_folder(installed, tmp_path):
    assert not (installed / "configs").exists()  # no room of that name among other packages
    for name in ("celeba", "configs/lfw_openface.py:cpu"):
        assert check(f"--config={name}", cwd=tmp_path, PYTHONPATH=str(installed)) == (0, "")
    done = subprocess.run(
        [sys.executable, "-m", "ganimation_jax", "train", "--config=synthetic:smoke",
         "--config.epochs=0.0625", "--config.image_size=16", "--config.generator.width=4",
         "--config.generator.residual_blocks=1", "--config.critic.width=4",
         "--config.every={'evaluate': 10000, 'sample': 10000}",
         "--config.evaluate.examples=8", "--config.wandb.mode=disabled", "--workdir=run"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search("finished: run", done.stderr)
