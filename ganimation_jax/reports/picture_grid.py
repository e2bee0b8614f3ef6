"""Pictures side by side, with labels."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 96  # pixels; smaller images are hard to see and to label


def grid(
    cells: Sequence[Sequence[np.ndarray]], rows: Sequence[str] = (), columns: Sequence[str] = ()
) -> np.ndarray:
    """Images in rows and columns with labels at the left and on top.

    Args:
      cells: uint8 ``h w 3`` each, all of one size; enlarged to ``CELL`` pixels if smaller.
      rows, columns: labels; empty for none.

    Returns:
      uint8 ``H W 3``.
    """
    zoom = max(1, -(-CELL // cells[0][0].shape[1]))
    cells = [[cell.repeat(zoom, axis=0).repeat(zoom, axis=1) for cell in row] for row in cells]
    height, width = cells[0][0].shape[:2]
    text_size = max(10, width // 8)
    font = ImageFont.load_default(text_size)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1))).textlength
    left = int(max((measure(label, font) for label in rows), default=-8)) + 8
    top = int(text_size * 1.6) if columns else 0
    gap = max(2, width // 48)
    size = (left + len(cells[0]) * (width + gap), top + len(cells) * (height + gap))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for x, label in enumerate(columns):
        middle = left + x * (width + gap) + width // 2
        draw.text((middle, top // 2), label, "black", font, anchor="mm")
    for y, row in enumerate(cells):
        if y < len(rows):
            middle = top + y * (height + gap) + height // 2
            draw.text((left - 6, middle), rows[y], "black", font, anchor="rm")
        for x, cell in enumerate(row):
            place = (left + x * (width + gap), top + y * (height + gap))
            sheet.paste(Image.fromarray(cell), place)
    return np.asarray(sheet)
