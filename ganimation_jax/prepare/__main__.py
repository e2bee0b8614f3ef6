"""``ganimation prepare COMMAND``: make a dataset from pictures."""

import argparse
import sys
from concurrent.futures import BrokenExecutor

from ganimation_jax.prepare import (
    celeba,
    emotionet,
    fit_readout,
    folders,
    openface,
    people,
    people_directions,
    photos,
)
from ganimation_jax.prepare.problems import UsageError


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Returns:
      The exit code: 0, 1 when the work failed, 2 when the command was wrong.
    """
    parser = argparse.ArgumentParser(prog="ganimation prepare", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    sources = (photos, folders, people, openface, celeba, emotionet)
    for command in (*sources, fit_readout, people_directions):
        command.add_command(commands)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except (UsageError, ImportError) as error:  # an extra that is not installed
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # what is wrong with an input file is reported, not raised
        print(
            f"error: {error}\nOnce it is fixed, rerun the same command to resume.", file=sys.stderr
        )
        return 1
    except BrokenExecutor:
        print(
            "error: a process died, perhaps for lack of memory: try fewer --workers",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: rerun the same command to resume", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
