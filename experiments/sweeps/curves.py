"""Curves of the runs of a sweep, and a table of where they end, as Markdown.

    python experiments/sweeps/curves.py RUNS --metrics attention/mean,truth/psnr --out curves.png

``RUNS`` is the --workdir of ``python -m ganimation_jax.sweep``, on drawn faces. Training metrics
are means over eight records. ``wasserstein`` is made of critic/real and critic/edited. Alerts are
those that are open at the end. Needs matplotlib (extra `figures`).
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from ml_collections import ConfigDict

from ganimation_jax import health
from ganimation_jax.data.synthetic import SyntheticFaces

SMOOTH = 8  # records


def read(folder, metric):
    """Images and values."""
    points = []
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if "critic/real" in record:
            record["wasserstein"] = -(record["critic/real"] + record["critic/edited"])
        if record.get(metric) is not None:
            points.append((record["images"], record[metric]))
    images, values = np.array(points).T
    if len(values) > 2 * SMOOTH:
        values = np.convolve(values, np.full(SMOOTH, 1 / SMOOTH), "valid")
        images = images[SMOOTH - 1 :]
    return images, values


def alerts(folder, warmup):
    """Names of the alerts that are open at the end."""
    cfg = ConfigDict(json.loads((folder / "config.json").read_text()))
    cfg.health.update(on=True, warmup=warmup)
    faces = SyntheticFaces(cfg.data.size, cfg.image_size, cfg.seed)
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    watch = health.build(cfg, faces.aus_table() / 5)
    return [alert.name for alert in watch.replay(records)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--metrics", required=True, help="joined by commas")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--log", default="", help="metrics on a logarithmic axis")
    parser.add_argument("--warmup", type=int, default=2_000, help="images without alerts")
    args = parser.parse_args()
    metrics = args.metrics.split(",")
    folders = sorted(path.parent for path in args.runs.glob("[0-9]*/trial.json"))
    rows = -(-len(metrics) // 3)
    figure, axes = plt.subplots(
        rows, 3, figsize=(11, 2.9 * rows), layout="constrained", squeeze=False
    )
    for axis in axes.flat[len(metrics) :]:
        axis.set_axis_off()
    print("| " + " | ".join(["run", *metrics, "alerts"]) + " |")
    print("|---" * (len(metrics) + 2) + "|")
    styles = ("-", "--", "-.", ":")  # lines may lie on each other
    for i, folder in enumerate(folders):
        parameters = json.loads((folder / "trial.json").read_text())["parameters"]
        label = " ".join(f"{name.split('.')[-1]} {value:g}" for name, value in parameters.items())
        cells = [label]
        for axis, metric in zip(axes.flat, metrics, strict=False):
            images, values = read(folder, metric)
            marker = "o" if len(values) < 10 else None
            style = {"color": f"C{i}", "linestyle": styles[i % 4], "marker": marker}
            axis.plot(images / 1000, values, label=label, linewidth=1.2, **style)
            cells.append(f"{values[-1]:.3g}")
        print("| " + " | ".join([*cells, ", ".join(alerts(folder, args.warmup)) or "-"]) + " |")
    for axis, metric in zip(axes.flat, metrics, strict=False):
        axis.set_title(metric, fontsize=9)
        axis.set_xlabel("thousand images", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if metric in args.log.split(","):
            axis.set_yscale("log")
    axes[0, 0].legend(fontsize=7)
    figure.savefig(args.out, dpi=80)


if __name__ == "__main__":
    main()
