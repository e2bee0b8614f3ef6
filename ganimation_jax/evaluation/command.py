"""``ganimation eval``: measure a run's newest checkpoint, or another model, and report it."""

import datetime
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ganimation_jax.data.derived import of_known_members
from ganimation_jax.data.pipeline import build_source, held_out_batches
from ganimation_jax.evaluation import held_out, judges, suite
from ganimation_jax.evaluation.headlines import headlines
from ganimation_jax.evaluation.report import write_report
from ganimation_jax.evaluation.results import Result, from_json
from ganimation_jax.features import inception
from ganimation_jax.files import json_lines
from ganimation_jax.interop.torch_files import read_state_dict, require_torch
from ganimation_jax.reports import samples
from ganimation_jax.runs.checkpoint import any_checkpoint
from ganimation_jax.runs.load import Run, load_run
from ganimation_jax.types import to_uint8
from ganimation_jax.version import __version__

log = logging.getLogger(__name__)

SHOWN_FACES = 4


def evaluate(
    cfg: ConfigDict,
    workdir: Path,
    *,
    model: str = "",
    openface: Path | None = None,
    openface_csvs: Path | None = None,
    write_edits: bool = False,
) -> list[str]:
    """Measure on held-out faces; writes ``index.html`` and ``report.json``.

    Of ``cfg`` only the data and ``evaluate`` are used.

    Args:
      cfg: the run's, or one with other data to measure it on.
      workdir: of the run. The report goes to its folder ``report``; that of another model to
        ``report_NAME`` if ``workdir`` is a run, or has another report already.
      model: what to measure, as ``load_run`` takes it, if not the run in ``workdir``.
      openface: OpenFace's FaceLandmarkImg, to judge the edits.
      openface_csvs: or the CSV files that it wrote for the edits.
      write_edits: write the edits as PNG files, into ``edits``, or ``edits_NAME``.

    Returns:
      The headlines, a line each, and where the report is.

    Raises:
      FileNotFoundError: there is no checkpoint, no data, or no such OpenFace.
      ValueError: the data lack an action unit of the run, or OpenFace cannot be used.
    """
    run = load_run(model or workdir)
    cfg = cfg.copy_and_resolve_references()
    cfg.image_size = run.image_size
    faces = of_known_members(build_source(cfg, "test"), run.model.conditions)
    nets = jax.device_put(run.used)
    edit = functools.partial(jax.jit(run.model.edit), nets)
    read = None if run.model.read is None else functools.partial(jax.jit(run.model.read), nets)
    name = Path(model or workdir.resolve()).name
    suffix = suffix_for(workdir, model, name)

    seen = held_out.look(held_out_batches(cfg, faces, run.names), edit, read, run.model.undoes)
    if write_edits:
        judges.write_images(workdir / f"edits{suffix}", seen.edited)
        log.info("%d edits in %s", len(seen.edited), workdir / f"edits{suffix}")
    left, right = (tuple(point) for point in cfg.data.eyes)
    tools = suite.Instruments(
        load_inception,
        openface,
        openface_csvs,
        eyes=(left, right),
        controlled_faces=cfg.evaluate.controlled_faces,
    )
    subject = held_out.Subject(seen, faces, run.model.conditions, edit, read)
    sections, responses = suite.run(subject, tools)
    facts = facts_of(run, cfg, name, len(seen.image))
    result = Result(facts, run.config, run.names, sections, responses)
    images = np.asarray(to_uint8(jnp.asarray(seen.image[:SHOWN_FACES])))
    have, conditions = seen.have[:SHOWN_FACES], run.model.conditions
    pictures = {
        "Expressions": samples.expressions(edit, images, have, conditions, run.model.undoes),
        "Each condition alone": samples.single_conditions(edit, images[0], have[0], conditions),
    }
    records = (Path(model) if model else workdir) / "metrics.jsonl"
    history = json_lines.read(records, json_lines.numbers_only, "images")
    page = write_report(workdir / f"report{suffix}", result, pictures, history)
    lines = [f"{one.score.value:10.4f}  {one.title}: {one.reading}" for one in headlines(result)]
    return [*lines, f"report: {page}"]


def suffix_for(workdir: Path, model: str, name: str) -> str:
    """What distinguishes the files of another model from those of the run in ``workdir``.

    Args:
      workdir: where they go.
      model: as given by the user; "" is the run itself.
      name: of the model.

    Returns:
      "", or ``_NAME`` where ``workdir`` is a run, or has the report of something else.

    Raises:
      ValueError: there is a report that cannot be read.
    """
    if not model or Path(model).resolve() == workdir.resolve():
        return ""
    report = workdir / "report" / "report.json"
    if any_checkpoint(workdir / "checkpoints"):
        return f"_{name}"
    if not report.exists():
        return ""
    try:
        other = from_json(report.read_text(encoding="utf-8")).facts.get("run")
    except ValueError as error:
        raise ValueError(f"{report}: {error}; remove it, or use another --workdir") from error
    return "" if other == name else f"_{name}"


def load_inception() -> Callable[[jax.Array], jax.Array]:
    """Features for FID.

    Raises:
      ImportError: torch is not installed; raised before 95 MB are downloaded.
      FileNotFoundError: the weights cannot be obtained.
    """
    require_torch()
    return inception.load(read_state_dict)


def facts_of(run: Run, cfg: ConfigDict, name: str, examples: int) -> dict[str, Any]:
    """What was evaluated and on which data, for the head of the report."""
    data = cfg.data.source if cfg.data.source == "synthetic" else Path(cfg.data.dir).name
    return {
        "run": name,
        "step": run.step,
        "image_size": run.image_size,
        "data": data,
        "examples": examples,
        "date": datetime.date.today().isoformat(),
        "device": jax.devices()[0].device_kind,
        "ganimation_jax": __version__,
        "jax": jax.__version__,
    }
