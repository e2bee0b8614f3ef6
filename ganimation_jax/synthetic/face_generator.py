"""Photo-real faces of people who do not exist.

MobileStyleGAN (Belousov 2021), distilled from NVIDIA's StyleGAN2 on FFHQ, as OpenVINO files
that come with the Python package ``random_face``. Install it with ``--no-deps``, because it
requires Jupyter and a second OpenCV. Its code is Apache-2.0 and not used here; the
weights descend from a network under a non-commercial licence and pictures under CC BY-NC-SA:
for research.

A face is drawn from 23 style vectors, one for each modulated layer: row 0 acts at 4x4 pixels,
rows 1-3 at 8x8, 4-6 at 16x16, 7-9 at 32x32, and so on up to row 22, the colours. Moving
rows 4-9 alone changes the expression and nearly keeps pose, light, hair and background.
"""

import re
from typing import Any

import numpy as np

from ganimation_jax.files.assets import Asset, locate

INSTALL = "pip install 'ganimation-jax[people]'"
STYLE = 512  # numbers in a style
ROWS = 23  # modulated layers
EXPRESSION_ROWS = slice(4, 10)
SHA256 = {
    "MappingNetwork.xml": "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
    "MappingNetwork.bin": "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
    "SynthesisNetwork.xml": "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
    "SynthesisNetwork.bin": "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
}


def _asset(file: str) -> Asset:
    return Asset(
        name=file.replace(".", "_").lower(),
        file=file,
        sha256=SHA256[file],
        get="pip install --no-deps random_face==2021.7.21.1",
        package="random_face",
        member=f"data/{file}",
    )


MAPPING = (_asset("MappingNetwork.xml"), _asset("MappingNetwork.bin"))
SYNTHESIS = (_asset("SynthesisNetwork.xml"), _asset("SynthesisNetwork.bin"))
TRUNCATION = 0.8  # share of a style's distance from the mean style that is kept
MEAN_OF = 2048  # styles over which the mean is taken


class FaceGenerator:
    """Draws faces on one thread, so that the same styles give the same bits.

    Raises:
      ImportError: OpenVINO is missing.
      FileNotFoundError, ValueError: the networks' files are missing or damaged.
    """

    def __init__(self) -> None:
        try:
            import openvino
        except ImportError as error:
            raise ImportError(f"drawing people needs OpenVINO: {INSTALL}") from error
        core = openvino.Core()
        # Bits depend on the number of threads, and lower precision is the default on some CPUs.
        options = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        mapping, synthesis = (
            core.read_model(*(str(locate(asset)) for asset in pair))
            for pair in (MAPPING, SYNTHESIS)
        )
        self._map = core.compile_model(mapping, "CPU", options)
        self._draw = core.compile_model(_by_rows(openvino, synthesis), "CPU", options)
        noise = np.random.default_rng(0).standard_normal((MEAN_OF, STYLE))
        self._mean = np.mean([self._style(one) for one in noise], axis=0, dtype=np.float32)

    def person(self, seed: int, number: int) -> np.ndarray:
        """The style of person ``number`` of a seed, float32 512."""
        noise = np.random.default_rng([seed, number]).standard_normal(STYLE)
        return self._mean + np.float32(TRUNCATION) * (self._style(noise) - self._mean)

    def draw(self, style: np.ndarray, change: np.ndarray | None = None) -> np.ndarray:
        """Draw a face.

        Args:
          style: of the person, float32 512.
          change: what is added to the rows that hold the expression, float32 512.

        Returns:
          uint8 ``1024 1024 3``.
        """
        rows = np.repeat(np.asarray(style, np.float32)[None], ROWS, axis=0)
        if change is not None:
            rows[EXPRESSION_ROWS] += np.asarray(change, np.float32)
        image = self._draw(rows)[0][0].transpose(1, 2, 0)
        return ((image + 1) * 127.5).round().clip(0, 255).astype(np.uint8)

    def _style(self, noise: np.ndarray) -> np.ndarray:
        return self._map(noise.astype(np.float32)[None])[0][0].copy()


def _by_rows(openvino: Any, model: Any) -> Any:
    """The synthesis network with a style of its own for each modulated layer.

    As shipped, one style feeds all layers. Each of its users is fed from a row of a new input.
    """
    from openvino import opset13

    rows = opset13.parameter([ROWS, STYLE], np.float32, name="rows")

    def row(number: int) -> Any:
        return opset13.slice(rows, [number], [number + 1], [1], [0]).output(0)

    users = list(model.inputs[0].get_target_inputs())
    layers = [user for user in users if user.get_node().get_type_name() == "MatMul"]
    if len(layers) != ROWS:
        raise ValueError(f"the synthesis network has {len(layers)} modulated layers, not {ROWS}")
    # Named Gemm_11/..., Gemm_52/..., in the order of the layers: from 4x4 pixels up.
    layers.sort(key=lambda user: int(re.findall(r"\d+", user.get_node().get_friendly_name())[0]))
    for number, user in enumerate(layers):
        user.replace_source_output(row(number))
    for user in model.inputs[0].get_target_inputs():  # the rest only ask for its shape
        user.replace_source_output(row(0))
    return openvino.Model(model.get_results(), [rows], "faces")
