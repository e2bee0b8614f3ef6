"""Completion of the command in real shells."""

import os
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT

from ganimation_jax.__main__ import COMMANDS
from ganimation_jax.completion import SHELLS

argcomplete = pytest.importorskip("argcomplete")

BASH = """
eval "$(ganimation completion bash)"
complete -p ganimation >&2
export COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9
COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
case "$1" in *" ") COMP_CWORD=$((COMP_CWORD + 1)) ;; esac
_python_argcomplete ganimation
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A shell in a folder with a photo, where ``ganimation`` is a command."""
    folder = tmp_path_factory.mktemp("shell")
    command = folder / "bin/ganimation"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ganimation_jax "$@"\n')
    command.chmod(0o755)
    (folder / "photo.jpg").write_bytes(b"")
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}

    def run(*words):
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def in_bash(shell, line):
    return {word.strip() for word in shell("bash", "-c", BASH, "bash", line).splitlines() if word}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_completes_commands_flags_values_and_files(shell):
    assert in_bash(shell, "ganimation e") == {"edit", "eval", "export"}
    assert set(COMMANDS) <= in_bash(shell, "ganimation ")
    assert in_bash(shell, "ganimation edit --ex") == {"--expression"}
    assert in_bash(shell, "ganimation edit photo.jpg --expression s") == {"sad", "surprised"}
    assert in_bash(shell, "ganimation edit a.png --half ") == {"left", "right"}
    assert in_bash(shell, "ganimation edit ph") == {"photo.jpg"}
    assert in_bash(shell, "ganimation read a.png --model peo") == {"people-128"}
    assert "emotionet" in in_bash(shell, "ganimation train --config ")
    assert "--workdir" in in_bash(shell, "ganimation eval --w")
    assert "photos" in in_bash(shell, "ganimation prepare ")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_commands(shell):
    script = 'ganimation completion fish | source; complete -C "ganimation ed"'
    assert shell("fish", "-c", script).split()[0] == "edit"


@pytest.mark.parametrize("name", SHELLS)
def test_there_is_a_script_for_each_shell(name, capsys):
    from ganimation_jax.completion import main

    assert main([name]) == 0
    assert "ganimation" in capsys.readouterr().out


def test_a_reader_that_leaves_early_is_no_error():
    words = (sys.executable, "-m", "ganimation_jax", "completion", "bash")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(words, cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")
