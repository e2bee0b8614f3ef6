"""A model's card and the file of weights it belongs to, checked; needs neither JAX nor Flax."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors

from ganimation_jax.files.assets import Asset, locate
from ganimation_jax.runs import pretrained

WEIGHTS, CARD = ".safetensors", ".json"  # suffixes
SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST_IMAGE = 2048  # pixels a side
NEEDED = {"config": dict, "step": int, "weights": dict}


class Found(NamedTuple):
    """A model's files."""

    card: dict[str, Any]  # at least config, step, weights
    weights: Path  # a file with the SHA-256 that the card gives


def path_of(source: Path | str) -> Path | None:
    """The card or weights that ``source`` names: one of these files, or a model of the library.

    Returns:
      None if it is neither; a folder or a file that has the name of a model comes first.
    """
    path = Path(source)
    if not path.exists() and str(source) in pretrained.NAMES:
        return pretrained.FOLDER / f"{source}{CARD}"
    return path if path.suffix in (WEIGHTS, CARD) and not path.is_dir() else None


def find(path: Path) -> Found:
    """The files of a model, of which ``path`` is the card or the weights.

    Weights that are not beside the card are downloaded once, from the address in it.

    Raises:
      FileNotFoundError: the card or the weights do not exist, or cannot be downloaded.
      ValueError: the card is not one, or the weights have another SHA-256.
    """
    card = _read_card(path.with_suffix(CARD))
    said, beside = card["weights"], path.with_suffix(WEIGHTS)
    asset = Asset(
        name=path.stem.replace("-", "_"),
        file=f"{said['sha256']}{WEIGHTS}",  # in the cache, where names of models may collide
        sha256=said["sha256"],
        get=f"put {beside.name} beside {path.with_suffix(CARD)}",
        url=said.get("url", ""),
    )
    return Found(card, locate(asset, beside if beside.is_file() or not asset.url else None))


def arrays(weights: Path) -> dict[str, np.ndarray]:
    """The weights in a file as float32, by network and name: ``NETWORK/LAYER/NAME``.

    Raises:
      ValueError: the file is damaged, or a weight is not finite.
    """
    found = {}
    try:
        with safetensors.safe_open(weights, framework="numpy") as file:
            for name in file.offset_keys():
                found[name] = file.get_tensor(name).astype(np.float32)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{weights} is damaged: {error}") from error
    check_finite(found, str(weights))
    return found


def check_finite(weights: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
      ValueError: names the first such array.
    """
    for name, array in weights.items():
        values = np.asarray(array)
        if values.dtype.kind == "f" and not math.isfinite(float(np.sum(values, dtype=np.float64))):
            count = int(np.count_nonzero(~np.isfinite(values)))
            if count:
                raise ValueError(f"{source}: {count} weights of {name} are not finite")


def check_card(card: Mapping[str, Any], path: Path) -> None:
    """Refuse a card that lacks a field, or holds a value of the wrong type.

    Raises:
      ValueError: names the file and the field.
    """
    missing = [name for name in NEEDED if name not in card]
    if missing:
        raise ValueError(f"{path} is no model's card: it lacks {', '.join(missing)}")
    for name, kind in NEEDED.items():
        if not isinstance(card[name], kind) or isinstance(card[name], bool):
            raise ValueError(f"{path}: {name} is {short(card[name])}, not of type {kind.__name__}")
    weights, config = card["weights"], card["config"]
    if not isinstance(weights.get("sha256"), str) or not SHA256.fullmatch(weights["sha256"]):
        raise ValueError(f"{path} is no model's card: it lacks a SHA-256 of the weights")
    url = weights.get("url", "")
    if not isinstance(url, str) or (url and not url.startswith("https://")):
        raise ValueError(f"{path}: weights.url is {short(url)}; weights come over https only")
    if card["step"] < 0:
        raise ValueError(f"{path}: step is {card['step']}")
    size, units = config.get("image_size"), config.get("action_units")
    if not isinstance(size, int) or not 4 <= size <= LARGEST_IMAGE:
        raise ValueError(
            f"{path}: config.image_size is {short(size)}, not a number from 4 to {LARGEST_IMAGE}"
        )
    if units is not None and not (
        isinstance(units, list) and units and all(isinstance(unit, str) for unit in units)
    ):
        raise ValueError(f"{path}: config.action_units is {short(units)}, not a list of names")


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds something else.
    """
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object")
    return value


def short(value: Any) -> str:
    """A value for a message, cut to 60 characters."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _read_card(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it says what the weights beside it are")
    card = read_object(path)
    check_card(card, path)
    return card
