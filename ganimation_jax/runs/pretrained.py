"""The models that come with the library, by name: a card in this folder each."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "pretrained"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
DEFAULT = "people-128"  # what edits where no model is named
