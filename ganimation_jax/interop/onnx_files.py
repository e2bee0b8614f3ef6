"""A generator as an ONNX file: the one place that imports a converter."""

from collections.abc import Callable
from pathlib import Path

import jax

from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.types import Edit, Params


def save_onnx(
    path: Path,
    edit: Callable[[Params, jax.Array, jax.Array], Edit],
    params: Params,
    action_units: tuple[str, ...],
    image_size: int,
) -> None:
    """Write a generator for any ONNX runtime.

    Inputs ``image`` (``b h h 3``, [-1, 1]) and ``aus`` (``b n``, [0, 1]), outputs ``edited``,
    ``attention`` and ``color``; ``action_units`` and ``image_size`` are in the metadata.

    Raises:
      ImportError: jax2onnx is not installed.
    """
    try:
        import onnx
        from jax2onnx import to_onnx
    except ImportError as error:
        raise ImportError(
            "a converter is needed for ONNX: pip install 'ganimation-jax[onnx]'"
        ) from error
    # Runtimes have their own ways to be fast. The converter takes no dilated input, as transposed
    # convolutions have (0.13 leaves the dilation out and says nothing).
    with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed_subpixel):
        model = to_onnx(
            lambda image, aus: tuple(edit(params, image, aus)),
            [("b", image_size, image_size, 3), ("b", len(action_units))],
            input_names=["image", "aus"],
            output_names=["edited", "attention", "color"],
        )
    onnx.helper.set_model_props(
        model, {"action_units": ",".join(action_units), "image_size": str(image_size)}
    )
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, model.SerializeToString())
