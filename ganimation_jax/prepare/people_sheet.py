"""A picture of the pairs: some people, a row each, with all their expressions."""

import io
from pathlib import Path

from PIL import Image

from ganimation_jax.data.table import FaceTable
from ganimation_jax.files.atomic import write_atomically

ROWS = 24
COLUMNS = 9
TILE = 128  # pixels
GAP = 2


def write_sheet(out: Path) -> None:
    """Write ``pairs.jpg`` in a prepared folder of people: the first of them, first picture left."""
    people: dict[str, list[Path]] = {}
    for face in FaceTable(out):
        people.setdefault(face.person, []).append(face.jpeg)
    rows = [sorted(paths)[:COLUMNS] for _, paths in sorted(people.items())[:ROWS]]
    step = TILE + GAP
    sheet = Image.new("RGB", (step * max(map(len, rows)), step * len(rows)), "white")
    for row, paths in enumerate(rows):
        for column, path in enumerate(paths):
            with Image.open(path) as crop:
                tile = crop.resize((TILE, TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (step * column, step * row))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=90)
    write_atomically(out / "pairs.jpg", buffer.getvalue())
