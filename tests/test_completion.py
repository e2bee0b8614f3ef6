"""Completion of the command in real shells."""

import contextlib
import os
import pty
import select
import shutil
import subprocess
import sys
import time

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
def folder(tmp_path_factory):
    """A folder with a photo."""
    path = tmp_path_factory.mktemp("shell")
    (path / "photo.jpg").write_bytes(b"")
    return path


@pytest.fixture(scope="module")
def shell(folder):
    """Runs a shell in the folder, where ``ganimation`` is a command."""
    command = folder / "bin/ganimation"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ganimation_jax "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}

    def run(*words):
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.environment = environment
    return run


def in_bash(shell, line):
    return {word.strip() for word in shell("bash", "-c", BASH, "bash", line).splitlines() if word}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_completes_commands_flags_values_and_files(shell):
    assert in_bash(shell, "ganimation e") == {"edit", "eval", "export"}
    assert set(COMMANDS) <= in_bash(shell, "ganimation ")
    assert in_bash(shell, "ganimation edit --ex") == {"--expression"}
    assert in_bash(shell, "ganimation  edit --ex") == {"--expression"}
    assert in_bash(shell, "ganimation edit photo.jpg --expression s") == {"sad", "surprised"}
    assert in_bash(shell, "ganimation edit a.png --half ") == {"left", "right"}
    assert in_bash(shell, "ganimation edit ph") == {"photo.jpg"}
    assert in_bash(shell, "ganimation read a.png --model peo") == {"people-128"}
    assert "emotionet" in in_bash(shell, "ganimation train --config ")
    assert "--workdir" in in_bash(shell, "ganimation eval --w")
    assert "photos" in in_bash(shell, "ganimation prepare ")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_commands_flags_values_and_files(shell):
    script = "ganimation completion fish | source; complete -C $argv[1]"

    def completed(line):
        lines = shell("fish", "-c", script, line).splitlines()
        return {text.split("\t")[0].strip() for text in lines}

    assert completed("ganimation ed") == {"edit"}
    assert completed("ganimation  edit --ex") == {"--expression"}
    assert completed("ganimation edit photo.jpg --expression s") == {"sad", "surprised"}
    assert completed("ganimation edit ph") == {"photo.jpg"}
    assert "emotionet" in completed("ganimation train --config emo")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
# A terminal needs a fork, of which JAX warns if a test before has used it; zsh replaces the child.
@pytest.mark.filterwarnings("ignore:os.fork")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ganimation ed", "ganimation edit "),
        ("ganimation  edit --ex", "ganimation  edit --expression "),
        (
            "ganimation edit photo.jpg --expression sa",
            "ganimation edit photo.jpg --expression sad ",
        ),
        ("ganimation edit ph", "ganimation edit photo.jpg "),
        ("ganimation edit ~/pict", "ganimation edit ~/pictures/"),
        ("ganimation edit --au AU12", "ganimation edit --au AU12="),
    ],
)
def test_zsh_completes_at_a_press_of_the_tab_key(shell, folder, typed, completed):
    """In a terminal, because zsh completes nowhere else."""
    home = folder / "home"
    (home / "pictures").mkdir(parents=True, exist_ok=True)
    # After the key, a widget writes the line that is then there.
    (home / ".zshrc").write_text(
        "autoload -Uz compinit && compinit -u\n"
        'eval "$(ganimation completion zsh)"\n'
        'said() { print -r -- "$BUFFER" > said; exit }\n'
        "zle -N said && bindkey '^O' said\n"
        ": > ready\n"
    )
    for name in ("ready", "said"):
        (folder / name).unlink(missing_ok=True)
    process, terminal = pty.fork()
    if not process:
        os.chdir(folder)
        os.execvpe("zsh", ["zsh", "-i"], {**shell.environment, "HOME": str(home), "TERM": "dumb"})
    try:
        wait_for(terminal, folder / "ready")
        os.write(terminal, f"{typed}\t\x0f".encode())
        wait_for(terminal, folder / "said")
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    assert (folder / "said").read_text() == f"{completed}\n"


def wait_for(terminal, path):
    """Until a file is there; reads what a shell writes, so that it does not wait."""
    ends = time.monotonic() + 60
    while not (path.exists() and (path.name == "ready" or path.read_text())):
        assert time.monotonic() < ends, f"no {path.name} in time"
        if select.select([terminal], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):  # it has ended
                os.read(terminal, 4096)


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
