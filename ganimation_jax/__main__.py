"""The command ``ganimation``: train, evaluate and use models of facial expression.

Each subcommand is a module with ``main(argv) -> exit code``, imported when it is called, so
that ``ganimation --help`` is quick.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from ganimation_jax import completion
from ganimation_jax.parallel.large_pages import restart_with_large_pages
from ganimation_jax.version import __version__

COMMANDS = {
    "edit": ("animation.cli", "edit the expression of faces in photos and videos"),
    "read": ("animation.read_cli", "read the action units of faces in photos and videos"),
    "web": ("web.app", "edit faces in a browser"),
    "prepare": ("prepare.__main__", "make a dataset from photos, videos or annotations"),
    "train": ("main", "train a model; rerun the same command to resume"),
    "eval": ("main", "evaluate a run or a model and write a report"),
    "compare": ("evaluation.compare", "put evaluated runs side by side"),
    "export": (
        "interop.export",
        "write a model as StableHLO, ONNX, safetensors or PyTorch weights",
    ),
    "import-torch": ("interop.torch_import", "read PyTorch weights of the published codes"),
    "sweep": ("sweep.run", "run a hyperparameter sweep without an account"),
    "bench": ("bench.__main__", "measure speed and memory"),
    "completion": ("completion", "print the script that completes commands in bash, zsh or fish"),
}
TRAINING = ("train", "bench")  # on a CPU, large pages make these faster


def usage() -> str:
    """What ``ganimation --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ganimation COMMAND ...",
            "",
            "Edit facial expression by anatomy, and train models that do.",
            "",
            *lines,
            "",
            "'ganimation COMMAND --help' describes a command.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Returns:
      The subcommand's exit code; 2 if there is no such subcommand; 141, as of a shell's own
      commands, if nobody reads what it prints.
    """
    if argv is None and completion.ASKED in os.environ:
        completion.answer(COMMANDS)
    words = list(sys.argv[1:] if argv is None else argv)
    command, rest = (words[0], words[1:]) if words else ("--help", [])
    if command in ("-h", "--help", "help"):
        print(usage())
        return 0
    if command == "--version":
        print(f"ganimation {__version__}")
        return 0
    if command not in COMMANDS:
        print(f"error: no command {command!r}; choose from {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    if command in TRAINING and argv is None and not {"-h", "--help"} & set(rest):
        restart_with_large_pages()
    module = importlib.import_module(f"ganimation_jax.{COMMANDS[command][0]}")
    if command in ("train", "eval"):
        rest = [f"--mode={command}", *rest]
    try:
        code = module.main(rest) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # as of `ganimation read PHOTOS | head`
        # Python flushes standard output once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (AssertionError, RuntimeError):
        if "JAX_PLATFORMS" not in os.environ:
            raise
        from ganimation_jax.parallel import processes

        try:
            processes.check_devices()
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        raise


if __name__ == "__main__":
    sys.exit(main())
