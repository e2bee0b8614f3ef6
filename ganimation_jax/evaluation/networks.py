"""The pretrained networks that evaluators share: each is loaded once, and sees a picture once."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from ganimation_jax.evaluation.readings import Read, remembering
from ganimation_jax.faces.crops import Eyes
from ganimation_jax.features import face_resnet, inception, lpips, vgg16
from ganimation_jax.features.batches import in_batches
from ganimation_jax.files.assets import Asset


class Networks:
    """Features of pictures, loaded when they are first used.

    Args:
      eyes: in the crops: (x, y) of either, in [0, 1].
      load_inception: loads the features of Inception; needs PyTorch to read the weights.

    Raises:
      ImportError, FileNotFoundError, ValueError: from the properties, if a network cannot be
        loaded.
    """

    def __init__(self, eyes: Eyes, load_inception: Callable[[], Callable]):
        self._eyes = eyes
        self._load_inception = load_inception

    @functools.cached_property
    def embed(self) -> Read:
        """Dlib's descriptors of faces, ``b h w 3 -> b 128``."""
        network = face_resnet.load(eyes=self._eyes)
        return _reader(network, face_resnet.ASSET, f"eyes {self._eyes}")

    @functools.cached_property
    def lpips(self) -> Read:
        """LPIPS-Alex between pictures, twice ``b h w 3 -> b``."""
        distance = lpips.load()
        read = _reader(lambda a, b: distance(a, b)[:, None], lpips.ASSET)
        return lambda a, b: read(a, b)[:, 0]

    @functools.cached_property
    def vgg16(self) -> Read:
        """VGG16's relu4_3, ``b h w 3 -> b 512``."""
        return _reader(vgg16.load(), vgg16.ASSET)

    @functools.cached_property
    def inception(self) -> Read:
        """Inception-v3's pool3, ``b h w 3 -> b 2048``."""
        return _reader(self._load_inception(), inception.ASSET)

    def face_distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Euclidean distance of descriptors, twice ``b h w 3 -> b``."""
        return np.linalg.norm(self.embed(a) - self.embed(b), axis=1)


def _reader(network: Callable, asset: Asset, detail: str = "") -> Read:
    # Another compiler or device rounds differently.
    where = f"jax {jax.__version__} {jax.devices()[0].device_kind}"
    version = f"{asset.sha256} {where} {detail}"
    return remembering(functools.partial(in_batches, network), asset.name, version)
