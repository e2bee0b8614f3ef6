"""Write a run as the model that ships: its gain is set, and the card says how it was made.

    python -m experiments.006_recipe.release --run RUN --gain 1.6 --about about.json \\
        --out NAME.safetensors
"""

import argparse
from pathlib import Path

from ganimation_jax.interop.export import card_of
from ganimation_jax.runs import model_files
from ganimation_jax.runs.load import load_run


def main() -> None:
    """Write the weights and the card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True)
    parser.add_argument("--gain", type=float, required=True)
    parser.add_argument("--about", type=Path, required=True, help="a JSON object for the card")
    parser.add_argument("--report", type=Path, help="the report.json of its evaluation")
    parser.add_argument(
        "--last", action="store_true", help="the last weights instead of their moving average"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    run = load_run(args.run)
    card = card_of(run, args.about, args.report)
    card["config"]["generator"] = {**run.config["generator"], "gain": args.gain}
    card["config"]["init_from"] = ""
    # Networks that are only trained stay behind.
    kept = {*run.model.edits_with, *run.model.averaged, *run.model.reads_with}
    for name in card["config"].keys() & (run.nets.keys() - kept):
        card["config"][name] = {**card["config"][name], "width": 0}
    nets = run.nets if args.last else run.used
    nets = {name: weights for name, weights in nets.items() if name in kept}
    model_files.write(args.out, nets, card)


if __name__ == "__main__":
    main()
