"""Make one set of two: all of the first, and the second's training faces several times.

    python -m experiments.006_recipe.mix --base DATA --more STRONGER --times 2 --out MIXED

Both are what ``ganimation prepare`` wrote. A run then sees the second set more often. The copies
of a person are people of their own, so that no pair is a picture with itself.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from ganimation_jax.action_units import OPENFACE_MAXIMUM
from ganimation_jax.data.dataset import FaceDataset, pack
from ganimation_jax.data.records import Face

STILL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))  # the crops are not cut again


def faces_of(dataset: FaceDataset, split: str, crops: Path, prefix: str = "") -> Iterator[Face]:
    """The faces of a dataset, with their crops written as files."""
    for record in dataset:
        name = f"{prefix}{record['id']}"
        crop = crops / f"{name}.jpg"
        crop.write_bytes(record["jpeg"])
        aus = tuple(min(OPENFACE_MAXIMUM, max(0.0, float(value))) for value in record["aus"])
        yield Face(name, split, f"{prefix}{record['person']}", "drawn", aus, STILL, crop)


def main() -> None:
    """Write the set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--more", type=Path, required=True)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    crops = args.out / "crops"
    crops.mkdir(parents=True)
    base, more = FaceDataset(args.base, "train"), FaceDataset(args.more, "train")
    if base.action_units != more.action_units:
        raise ValueError(f"{args.base} and {args.more} have different action units")
    faces = [*faces_of(base, "train", crops)]
    faces += faces_of(FaceDataset(args.base, "test"), "test", crops)
    for copy in range(args.times):
        faces += faces_of(more, "train", crops, f"more{copy}_")
    pack(
        args.out,
        faces,
        action_units=base.action_units,
        image_size=base.image_size,
        annotator=" and ".join(dict.fromkeys((base.annotator, more.annotator))),
        group_of=lambda face: face.person,
    )
    print(f"{len(faces)} faces in {args.out}")


if __name__ == "__main__":
    main()
