"""How edits show themselves in Jupyter: a result as HTML, and a widget with sliders."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.animation.labels import labels_of, named
from ganimation_jax.animation.targets import PRESETS

if TYPE_CHECKING:
    from ipywidgets import Widget

    from ganimation_jax.animation.animator import Animator
    from ganimation_jax.animation.editing import Explanation

SIDE = 256  # pixels, the longer side of pictures in a result
PREVIEW = 512  # and of the picture above the sliders
LEAST = 0.02  # change of an action unit that is listed
NAMES = {unit.code: unit.action for unit in ANATOMY}
OWN = "as in the photo"


def result_html(result: "Explanation") -> str:
    """Before, after, where the model paints, and the action units that change."""
    # Attention is the share of the photo that is kept: dark is what the model paints.
    kept = (255 * result.attention).round().astype(np.uint8)
    pictures = {
        "before": result.photo,
        "after": result.edited,
        "kept (white) or painted (black)": kept,
    }
    figures = "".join(
        '<figure style="margin:0 12px 12px 0;display:inline-block">'
        f'<img alt="{name}" style="outline:1px solid #8886" src="{_data_url(picture, SIDE)}">'
        f'<figcaption style="font-size:90%;opacity:.8">{name}</figcaption></figure>'
        for name, picture in pictures.items()
    )
    return f"<div>{figures}{_units_html(result.action_units, result.own, result.aus)}</div>"


def widget(animator: "Animator", photo: np.ndarray) -> "Widget":
    """A picture of the photo above a slider for each action unit, and a choice of expressions.

    A model of labels has no sliders for them: they are chosen by name.

    Args:
      photo: uint8 ``h w 3``; shown at 512 pixels at most.

    Raises:
      NoFaceError: there is no face.
      ImportError: ipywidgets is not installed.
    """
    try:
        import ipywidgets as widgets
    except ImportError as error:
        raise ImportError(
            "widgets need ipywidgets: pip install 'ganimation-jax[notebook]'"
        ) from error
    image = np.asarray(_within(photo, PREVIEW))
    (face,) = animator.find(image)
    own = {unit: float(x) for unit, x in zip(animator.action_units, face.aus, strict=True)}
    conditions = animator.model.conditions
    labels = labels_of(conditions)
    shown = widgets.Image(value=_jpeg(image), format="jpeg")
    sliders = {
        unit: widgets.FloatSlider(
            value=round(value, 2), min=0, max=1, step=0.01, description=unit,
            tooltip=NAMES.get(unit, unit), readout_format=".2f",
        )
        for unit, value in own.items()
        if unit not in labels
    }  # fmt: skip
    names = [*labels, *(PRESETS if sliders else ())]
    chosen: dict[str, float] = {}  # labels
    presets = widgets.Dropdown(options=[OWN, *names], description="expression")

    def show(_: Any = None) -> None:
        # A slider that was not moved means the face's own intensity, not a rounded one.
        moved = {
            unit: slider.value
            for unit, slider in sliders.items()
            if abs(slider.value - round(own[unit], 2)) > 1e-9
        }
        targets = animator.targets([face], [chosen | moved])[0]
        shown.value = _jpeg(animator.with_faces(image, [face], targets))

    def take(change: Any) -> None:
        values = {} if change["new"] == OWN else named(change["new"], conditions)
        chosen.clear()
        chosen.update({name: value for name, value in values.items() if name in labels})
        for unit, slider in sliders.items():
            slider.unobserve(show, "value")  # one edit for all of them
            slider.value = round(values.get(unit, own[unit]), 2)
            slider.observe(show, "value")
        show()

    for slider in sliders.values():
        slider.observe(show, "value")
    presets.observe(take, "value")
    grid = widgets.GridBox(
        list(sliders.values()),
        layout=widgets.Layout(grid_template_columns="repeat(auto-fill, minmax(300px, 1fr))"),
    )
    return widgets.VBox([shown, presets, grid])


def _units_html(units: Sequence[str], own: np.ndarray, asked: np.ndarray) -> str:
    start = np.nan_to_num(own)  # NaN: not measured
    change = np.abs(asked - start)
    rows = "".join(
        f"<tr><td>{escape(units[i])}</td><td>{escape(NAMES.get(units[i], ''))}</td>"
        f"<td>{'-' if np.isnan(own[i]) else format(own[i], '.2f')}</td><td>{asked[i]:.2f}</td>"
        f"<td>{_bar(float(start[i]), float(asked[i]))}</td></tr>"
        for i in np.argsort(-change, kind="stable").tolist()
        if change[i] >= LEAST
    )
    if not rows:
        return "<p>No action unit changes.</p>"
    head = "".join(f"<th>{name}</th>" for name in ("unit", "what it does", "before", "after", ""))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _bar(own: float, asked: float) -> str:
    """From 0 to 1: a mark where the face was, and a bar from there to what it was given."""
    left, right = sorted((own, asked))
    return (
        '<svg width="120" height="12" viewBox="0 0 120 12" role="img" aria-hidden="true">'
        '<line x1="0" x2="120" y1="6" y2="6" stroke="currentColor" stroke-opacity=".3"/>'
        f'<rect x="{120 * left:.1f}" width="{120 * (right - left):.1f}" y="3" height="6"'
        f' fill="{"#2f6f9f" if asked > own else "#c0503a"}"/>'
        f'<line x1="{120 * own:.1f}" x2="{120 * own:.1f}" y1="0" y2="12" stroke="currentColor"/>'
        "</svg>"
    )


def _data_url(picture: np.ndarray, side: int) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(_within(picture, side))).decode()}"


def _within(picture: np.ndarray, side: int) -> Image.Image:
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def _jpeg(picture: Image.Image | np.ndarray) -> bytes:
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
