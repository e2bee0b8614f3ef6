"""Complete commands, flags and values in a shell.

    eval "$(ganimation completion bash)"             # in ~/.bashrc; zsh in ~/.zshrc, after compinit
    ganimation completion fish | source              # in ~/.config/fish/config.fish

At a press of the tab key the shell runs the command with ``_ARGCOMPLETE`` set. ``answer`` then
takes the parser of the subcommand, so that what is completed is what is parsed.
"""

import argparse
import importlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from ganimation_jax import config_words
from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.version import PROGRAM

SHELLS = ("bash", "zsh", "fish")
ASKED = "_ARGCOMPLETE"  # the variable by which shells ask
# zsh would quote the tilde of what argcomplete finds in the home folder: it completes that itself.
ZSH_HOME = """
_ganimation_words() {
    if [[ ${words[CURRENT]} == \\~* ]]; then _files; else _python_argcomplete "$@"; fi
}
compdef _ganimation_words ganimation
"""
CONFIG_COMMANDS = ("train", "eval")  # whose flags are absl's


def main(argv: Sequence[str] | None = None) -> int:
    """Print the script of a shell."""
    import argcomplete

    made = argparse.ArgumentParser(
        prog="ganimation completion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("shell", choices=SHELLS)
    shell = made.parse_args(argv).shell
    print(argcomplete.shellcode([PROGRAM], shell=shell) + (ZSH_HOME if shell == "zsh" else ""))
    return 0


def answer(commands: Mapping[str, tuple[str, str]]) -> NoReturn:
    """Answer the shell that runs this process, and leave it.

    Args:
      commands: module and description of each subcommand.
    """
    # The word at the cursor is not complete yet; after a space it is empty.
    before = f"{os.environ['COMP_LINE'][: int(os.environ['COMP_POINT'])]}|".split()
    command = before[1] if len(before) > 2 else ""
    if command not in commands:
        top = argparse.ArgumentParser(prog=PROGRAM)
        top.add_argument("--version", action="store_true")
        choices = top.add_subparsers()
        for name, (_, text) in commands.items():
            choices.add_parser(name, help=text)
        _answer_with(top)
    os.environ[ASKED] = "2"  # the subcommand is the program, its parser knows the words after it
    module = importlib.import_module(f"ganimation_jax.{commands[command][0]}")
    if command in CONFIG_COMMANDS:
        _answer_with(
            _parser_of_flags(module.HELP_TRAIN if command == "train" else module.HELP_EVAL)
        )
    # Subcommands make their parsers when they are called.
    argparse.ArgumentParser.parse_args = _answer_with  # type: ignore[assignment, method-assign]
    module.main([])
    raise AssertionError(f"{command} has no parser")


def _answer_with(parser: argparse.ArgumentParser, *_: object) -> NoReturn:
    import argcomplete

    for action in parser._actions:
        if values := _values(action.dest):
            completer = argcomplete.ChoicesCompleter(dict.fromkeys(values, ""))
            action.completer = completer  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)
    raise AssertionError("argcomplete leaves the process")


def _values(flag: str) -> Sequence[str]:
    """What is completed where a parser takes any text."""
    if flag in ("model", "compare"):
        from ganimation_jax.runs.pretrained import NAMES

        return NAMES
    if flag == "expression":
        from ganimation_jax.animation.targets import PRESETS

        return tuple(PRESETS)
    if flag == "au":
        return tuple(f"{unit}=" for unit in ACTION_UNITS)
    if flag == "faces":
        return ("largest", "all")
    return config_words.names() if flag == "config" else ()


def _parser_of_flags(text: str) -> argparse.ArgumentParser:
    """The flags that a help text lists."""
    made = argparse.ArgumentParser()
    for flag in sorted({*re.findall(r"^ +(--\w+)", text, re.MULTILINE)}):
        made.add_argument(flag)
    return made
