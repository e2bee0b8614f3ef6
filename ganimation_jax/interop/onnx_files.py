"""A generator as an ONNX file: the one place that imports a converter."""

from pathlib import Path

import jax
import jax.numpy as jnp

from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.interop.stablehlo import parts
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.types import Model, Nets


def save_onnx(path: Path, model: Model, nets: Nets) -> None:
    """Write the editing networks for any ONNX runtime.

    Inputs are ``image`` (``b h h 3``, [-1, 1]), ``aus`` (``b n``, the wanted conditions) and,
    if the model needs them, ``have`` (``b n``, the present ones). Outputs are ``edited`` and
    the other parts that the model has, such as ``attention`` and ``color``. Names of the
    conditions (``action_units``) and ``image_size`` are in the metadata.

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
    side, count = model.image_size, len(model.conditions)
    image, vector = jnp.zeros((1, side, side, 3)), jnp.zeros((1, count))
    outputs = list(parts(jax.eval_shape(model.edit, nets, image, vector, vector)))

    def edit(image: jax.Array, *vectors: jax.Array) -> tuple[jax.Array, ...]:
        want, have = (*vectors, vectors[0])[:2]
        return tuple(parts(model.edit(nets, image, want, have)).values())

    # Plain convolutions, because runtimes optimise for themselves. Transposed ones as sub-pixel
    # convolutions, because the converter (0.13) drops the dilation of their inputs silently.
    with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed_subpixel):
        program = to_onnx(
            edit,
            [("b", side, side, 3), *[("b", count)] * (1 + model.needs_have)],
            input_names=["image", "aus", "have"][: 2 + model.needs_have],
            output_names=["edited", *outputs[1:]],
        )
    onnx.helper.set_model_props(
        program, {"action_units": ",".join(model.names), "image_size": str(side)}
    )
    onnx.checker.check_model(program)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, program.SerializeToString())
