"""Evaluated runs side by side: ``ganimation compare RUN1 RUN2``.

Prints the scores that the runs share, the best one marked, and writes ``compare.html``. The
runs must have been evaluated (``ganimation eval``).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ganimation_jax.evaluation.comparison_page import Rows, write_page
from ganimation_jax.evaluation.results import Result, from_json
from ganimation_jax.evaluation.scores import Score, by_unit, totals, verdicts

LEGEND = (
    "* is better than all others by more than two standard errors; = is the best, or within two "
    "standard errors of it; ? is the best, but without standard errors that may mean nothing."
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="ganimation compare", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs")
    parser.add_argument(
        "--out", type=Path, default=Path(), help="folder for compare.html (default: this one)"
    )
    args = parser.parse_args(argv)
    try:
        runs = load(args.runs)
        warnings = differences({name: result for name, (_, result) in runs.items()})
        results = {name: result for name, (_, result) in runs.items()}
        rows = table(results)
        for warning in warnings:
            print(f"WARNING: {warning}", file=sys.stderr)
        print(as_text(list(runs), rows))
        folders = {name: folder for name, (folder, _) in runs.items()}
        page = write_page(args.out, results, folders, rows, warnings, LEGEND)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\n{page}")
    return 0


def load(folders: Sequence[Path]) -> dict[str, tuple[Path, Result]]:
    """Short name -> folder of the report, and result, of each run.

    Raises:
      FileNotFoundError: a run was not evaluated.
      ValueError: fewer than two runs, one given twice, or a report that cannot be read.
    """
    if len(folders) < 2 or len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError("give two or more different runs")
    tails = [folder.resolve().name for folder in folders]
    names = tails if len(set(tails)) == len(tails) else [str(folder) for folder in folders]
    runs = {}
    for name, folder in zip(names, folders, strict=True):
        # Of a run, or itself a report, as that of a model that is not a run.
        report = folder if (folder / "report.json").is_file() else folder / "report"
        path = report / "report.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} was not evaluated (no {path}): run ganimation eval --config=... "
                f"--workdir={folder}"
            )
        try:
            runs[name] = report, from_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return runs


def differences(results: Mapping[str, Result]) -> list[str]:
    """Why scores of these runs may not be comparable, in sentences."""
    found = []
    for fact in ("data", "examples"):
        values = {name: result.facts.get(fact, "unknown") for name, result in results.items()}
        if len(set(values.values())) > 1:
            consequence = (
                "no score is called better"
                if fact == "data"
                else "only KID and means are comparable"
            )
            found.append(f"evaluated on different {fact} ({_each(values)}): {consequence}")
    if not same_units(results):
        units = {name: " ".join(result.action_units) for name, result in results.items()}
        found.append(
            f"different action units ({_each(units)}): their averages are not comparable, and only "
            "single units that all runs have are drawn"
        )
    measured = {
        name: {one.name for one in result.sections if not one.missing}
        for name, result in results.items()
    }
    everything = set.union(*measured.values())
    for name, have in measured.items():
        if lacks := sorted(everything - have):
            reasons = {one.name: one.missing for one in results[name].sections}
            each = (f"{one} ({reasons[one]})" if reasons.get(one) else one for one in lacks)
            found.append(f"{name} lacks what another run has: {', '.join(each)}")
    return found


def same_units(results: Mapping[str, Result]) -> bool:
    """Whether all runs have the same action units, in whatever order."""
    return len({frozenset(result.action_units) for result in results.values()}) == 1


def table(results: Mapping[str, Result]) -> Rows:
    """Key of each score that two or more runs have -> its value in each run, and its mark.

    Nothing is marked if the runs were evaluated on different data, nor averages over
    different action units, nor Frechet distances of different numbers of examples.
    """
    found: list[dict[str, Score]] = []
    averaged: set[tuple[str, str]] = set()
    for result in results.values():
        of_run: dict[str, Score] = {}
        for section in result.sections:
            of_run.update({score.key: score for score in totals(section.scores)})
            averaged |= set(by_unit(section.scores))
        found.append(of_run)
    rows: Rows = {}
    for key in dict.fromkeys(key for of_run in found for key in of_run):
        scores = [of_run.get(key) for of_run in found]
        if sum(score is not None for score in scores) > 1:
            one = next(score for score in scores if score is not None)
            judged = _comparable(one, results, averaged)
            rows[key] = scores, verdicts(scores) if judged else [""] * len(scores)
    return rows


def _comparable(
    score: Score, results: Mapping[str, Result], averaged: set[tuple[str, str]]
) -> bool:
    def same(fact: str) -> bool:
        return len({result.facts.get(fact) for result in results.values()}) == 1

    # Frechet distances shrink with the number of samples.
    sample_bound = score.name.startswith(("Frechet", "FID"))
    return (
        same("data")
        and (same("examples") or not sample_bound)
        and (same_units(results) or (score.group, score.name) not in averaged)
    )


def as_text(names: Sequence[str], rows: Rows) -> str:
    """Aligned columns for a terminal."""
    lines = [["", *names, ""]]
    for name, (scores, marks) in rows.items():
        cells = [
            f"{_plain(score)} {mark or ' '}" for score, mark in zip(scores, marks, strict=True)
        ]
        lines.append([name, *cells, next(score.better for score in scores if score)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for first, *middle, last in lines:
        cells = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
        text.append("  ".join([first.ljust(widths[0]), *cells, last]).rstrip())
    return "\n".join([*text, "", LEGEND])


def _plain(score: Score | None) -> str:
    if score is None or score.value != score.value:
        return "-"
    error = f" ± {score.se:.2g}" if score.se == score.se else ""
    return f"{score.value:.4g}{error}"


def _each(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())


if __name__ == "__main__":
    sys.exit(main())
