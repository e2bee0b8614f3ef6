"""What faces are edited by, and how a method's training examples are drawn.

This module does not import jax, so that data preparation and loading workers can use it.

A condition is an intensity (an action unit), a binary attribute, or one member of a group of
which a face shows exactly one (an emotion). Its value is in [0, 1]; labels are exactly 0 or 1.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ganimation_jax.action_units import EXPRESSIONS

AU_CODE = re.compile(r"AU\d\d")
ACTIVE = 0.2  # an intensity is shown from 1 on OpenFace's scale of 0 to 5
EMOTION = "emotion"  # the group of the basic emotions
EMOTIONS = tuple(sorted(("neutral", *EXPRESSIONS)))


class Condition(NamedTuple):
    """One entry of the vector that an edit is conditioned on."""

    name: str  # "AU12", "Smiling", "happy"
    kind: Literal["intensity", "binary", "one_of"] = "intensity"
    group: str = ""  # conditions "one_of" a group exclude one another

    def __str__(self) -> str:
        """The condition as configs write it: ``AU12``, ``Smiling``, ``emotion=happy``."""
        return f"{self.group}={self.name}" if self.kind == "one_of" else self.name


class Domain(NamedTuple):
    """The faces that show a condition, or those that do not.

    A face shows a label whose value is 1, and an intensity of at least ``ACTIVE``.
    """

    condition: str  # any condition of the dataset, by name
    shown: bool = True

    def members(self, table: np.ndarray, conditions: Sequence[Condition]) -> np.ndarray:
        """Which faces belong to it, bool ``len``.

        Args:
          table: float32 ``len n`` in [0, 1], the dataset's conditions.
          conditions: their n names and kinds.

        Raises:
          ValueError: the dataset has no such condition.
        """
        (place,) = places([self.condition], conditions)
        least = ACTIVE if conditions[place].kind == "intensity" else 0.5
        return (table[:, place] >= least) == self.shown


class Sampling(NamedTuple):
    """How the loader draws a method's training examples.

    By default, ``want`` is the conditions of a random training face. At most one of ``paired``,
    ``permute`` and ``domains`` may be set.
    """

    batches: int = 1  # in a step
    noise: float = 0.0  # U(-noise, noise) is added to the target conditions
    clip: bool = True  # to [0, 1], after the noise
    flip: bool = True  # mirror half of the images
    paired: float = 0.0  # share of examples whose target image is of the same person
    permute: bool = False  # targets are the conditions of the same global batch, permuted
    # Images are drawn from the first domain, ``other`` from the second, unpaired.
    domains: tuple[Domain, Domain] | None = None
    # Also draw ``wrong``: another face's conditions that differ from ``have`` in some entry.
    wrong: bool = False


def parse(texts: Iterable[str]) -> tuple[Condition, ...]:
    """The conditions that a run's config lists, as ``resolve`` and ``str`` write them."""
    return tuple(_parse(text) for text in texts)


def _parse(text: str) -> Condition:
    group, is_member, name = text.partition("=")
    if is_member:
        return Condition(name, "one_of", group)
    return Condition(text, "intensity" if AU_CODE.fullmatch(text) else "binary")


def resolve(asked: str | Iterable[str], available: Sequence[Condition]) -> tuple[Condition, ...]:
    """Find the conditions that a config asks for among those of a dataset.

    Args:
      asked: names of conditions, or of groups, each of which stands for all its members; a
        text may list several, separated by commas.
      available: the dataset's conditions.

    Returns:
      The conditions, in the order asked.

    Raises:
      ValueError: none is named, one is not available, or one is named twice; the message
        lists those that are available.
    """
    entries = [asked] if isinstance(asked, str) else list(asked)
    words = [word.strip() for entry in entries for word in entry.split(",") if word.strip()]
    names: list[str] = []
    for word in words:
        members = [one.name for one in available if one.kind == "one_of" and one.group == word]
        spelled = [one.name for one in available if str(one) == word]
        names += members or spelled or [word]
    return tuple(available[place] for place in places(names, available))


def places(wanted: Iterable[str], available: Sequence[Condition]) -> list[int]:
    """Places of the ``wanted`` conditions in ``available``, in the order wanted.

    Raises:
      ValueError: none is named, one is not available, or one is named twice; the message
        lists those that are available.
    """
    wanted, names = list(wanted), [one.name for one in available]
    if not wanted:
        raise ValueError(f"no conditions are named; the dataset has {describe(available)}")
    for name in wanted:
        if name not in names:
            digits = "".join(filter(str.isdigit, name))
            guess = f"AU{digits:0>2}" if digits else name
            lower = {one.lower(): one for one in names}
            near = difflib.get_close_matches(guess.lower(), lower, n=1, cutoff=0.5)
            hint = f"; did you mean {lower[near[0]]}?" if near else ""
            word = "action unit" if AU_CODE.fullmatch(name) else "condition"
            raise ValueError(
                f"{word} {name!r} is not in the dataset, which has {describe(available)}{hint}"
            )
        if wanted.count(name) > 1:
            raise ValueError(f"condition {name} is asked for {wanted.count(name)} times")
    return [names.index(name) for name in wanted]


def describe(conditions: Sequence[Condition]) -> str:
    """The conditions in words: ``AU04 AU12; Smiling Male; emotion: happy sad``."""
    parts: dict[tuple[str, str], list[str]] = {}
    for one in conditions:
        parts.setdefault((one.kind, one.group), []).append(one.name)
    texts = [f"{group}: " * bool(group) + " ".join(names) for (_, group), names in parts.items()]
    return "; ".join(texts) or "no conditions"


def check_labels(conditions: Sequence[Condition]) -> None:
    """Refuse labels that configs could not name.

    Raises:
      ValueError: a name is empty, is used twice, is an action unit's, or has a sign that
        separates names.
    """
    names = [one.name for one in conditions]
    groups = {one.group for one in conditions} - {""}
    for name in [*names, *groups]:
        if not name.strip() or re.search(r"[=,]", name) or AU_CODE.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot name a label: use a word without '=' and ',' that is not the "
                "code of an action unit"
            )
    for name in names:
        if names.count(name) > 1 or name in groups:
            raise ValueError(f"two labels are named {name!r}: rename one")
