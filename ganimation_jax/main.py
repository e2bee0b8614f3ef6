"""Train a model, or evaluate one: ``ganimation train`` and ``ganimation eval``.

Also ``python -m ganimation_jax.main [--mode=eval]``, with the same flags.
"""

import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import absl.logging
from absl import app, flags
from ml_collections import config_flags

from ganimation_jax import config_words
from ganimation_jax.files.caches import keep_compiled
from ganimation_jax.parallel.large_pages import restart_with_large_pages
from ganimation_jax.version import PROGRAM

CONFIG = config_flags.DEFINE_config_file("config", None, "settings", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run; made if absent")
MODE = flags.DEFINE_enum("mode", "train", ["train", "eval"], "what to do")
DISTRIBUTED = flags.DEFINE_enum(
    "distributed", "auto", ["auto", "on", "off"], "join the other processes of a cluster"
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0")
PROCESSES = flags.DEFINE_integer("processes", None, "number of processes")
PROCESS = flags.DEFINE_integer("process", None, "number of this process, from 0")
PEER_TIMEOUT = flags.DEFINE_integer(
    "peer_timeout", 60, "seconds after which a silent process is taken for dead"
)
MODEL = flags.DEFINE_string("model", "", "a model's name or file, in place of the run in workdir")
OPENFACE = flags.DEFINE_string("openface", None, "OpenFace's FaceLandmarkImg, as a judge")
OPENFACE_CSV = flags.DEFINE_string(
    "openface_csv", None, "folder with OpenFace's CSV files of WORKDIR/edits"
)
WRITE_EDITS = flags.DEFINE_bool("write_edits", False, "write the edits to WORKDIR/edits")

BAD_INPUT = (ValueError, OSError, FloatingPointError)

HELP_TRAIN = """usage: ganimation train --config=CONFIG[:PRESET] --workdir=RUN [--config.FIELD=X]

Train a model. Rerun the same command to resume after an interruption.

  --config=CONFIG[:PRESET]  a config of the library or a file of your own; the library has
                            {configs}
  --config.FIELD=VALUE      override a field: --config.batch_size=32 --config.data.dir=DATA
  --workdir=RUN             folder of the run; made if absent

On several hosts, start the same command on each, with a workdir and data that they share. SLURM,
Open MPI 4, Kubernetes and TPU pods are recognised. Elsewhere give all three of:

  --coordinator=HOST:PORT   address of process 0
  --processes=N             number of processes
  --process=I               number of this process, from 0

  --distributed=MODE        auto (join a cluster if there is one), on (fail if there is none), off
  --peer_timeout=SECONDS    time after which a silent process is taken for dead (60)

Exit codes: 0 finished; 75 stopped by a signal after saving: rerun to resume; 2 an error that
rerunning cannot fix. See docs/training.md.
"""
HELP_EVAL = """usage: ganimation eval --config=CONFIG[:PRESET] --workdir=RUN [--model=MODEL]

Evaluate a run or a model on held-out faces; writes RUN/report/index.html.

  --config=CONFIG[:PRESET]  the config that it was trained with: it names the data; the library has
                            {configs}
  --config.FIELD=VALUE      override a field: --config.data.dir=DATA
  --workdir=RUN             folder of the run, and of the report
  --model=MODEL             evaluate this model instead: a name, a file or another run's folder
  --write_edits             also write the edited faces to RUN/edits
  --openface=PROGRAM        OpenFace's FaceLandmarkImg, as an independent judge
  --openface_csv=FOLDER     or the CSV files that it wrote for RUN/edits

See docs/evaluation.md.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the flags and run; bad input ends in one line on stderr and exit code 2.

    Args:
      argv: the flags; None: those of this program, which is restarted with large pages.
    """
    if argv is None:  # this program is ours, from its first word on
        restart_with_large_pages()
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help", "-help"} & set(words):
        text = HELP_EVAL if "--mode=eval" in words else HELP_TRAIN
        listed = textwrap.fill(", ".join(config_words.names()), 70)
        print(text.format(configs=listed.replace("\n", "\n" + 28 * " ")), end="")
        return
    try:
        words = config_words.prepare(words)
    except ValueError as error:
        _refuse(str(error))
    sys.argv[1:] = words  # where ml_collections looks for the fields that are overridden
    app.run(run, argv=[PROGRAM, *words], flags_parser=_parse)


def run(argv: list[str]) -> None:
    """Dispatch on ``--mode``."""
    if len(argv) > 1:
        _refuse(f"unexpected arguments {argv[1:]}: write flags as --name=value")
    if CONFIG.value is None or WORKDIR.value is None:
        _refuse("give --config=configs/NAME.py and --workdir=DIR")
    import jax  # after the flags, so that --help is quick

    from ganimation_jax.evaluation import command
    from ganimation_jax.parallel import processes
    from ganimation_jax.training import loop

    # Of other libraries only warnings: Orbax reports every file it writes.
    absl.logging.set_verbosity(absl.logging.WARNING)
    # A sweep names the folder of a run by a variable, which W&B's agent leaves as it is.
    workdir = Path(os.path.expandvars(WORKDIR.value))
    try:
        if MODE.value == "train":
            processes.start(
                DISTRIBUTED.value,
                coordinator=COORDINATOR.value,
                processes=PROCESSES.value,
                process=PROCESS.value,
                peer_timeout=PEER_TIMEOUT.value,
            )
            processes.check_devices()
            _show_progress(processes.is_first())
            keep_compiled(jax.config)
            with processes.LeaveAtOnce(*BAD_INPUT):
                finished = loop.train(CONFIG.value, workdir)
            if not finished:
                raise SystemExit(processes.AGAIN)
        else:
            processes.check_devices()
            _show_progress()
            keep_compiled(jax.config)
            lines = command.evaluate(
                CONFIG.value,
                workdir,
                model=MODEL.value,
                openface=Path(OPENFACE.value) if OPENFACE.value else None,
                openface_csvs=Path(OPENFACE_CSV.value) if OPENFACE_CSV.value else None,
                write_edits=WRITE_EDITS.value,
            )
            print("\n".join(lines))
    except BAD_INPUT as error:
        _refuse(str(error))


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        _refuse(config_words.explain(error))


def _show_progress(all_of_it: bool = True) -> None:
    logger = logging.getLogger("ganimation_jax")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if all_of_it else logging.WARNING)
    logger.propagate = False


def _refuse(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
