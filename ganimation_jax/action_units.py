"""The 17 facial action units that OpenFace measures: order, names, anatomy.

The order is that of OpenFace's ``AUxx_r`` columns and of the published code;
the anatomy is that of the Facial Action Coding System (Ekman, Friesen & Hager,
2002). Intensities are 0-5 on disk (OpenFace's scale) and 0-1 in the model.
"""

import difflib
from collections.abc import Iterable
from typing import NamedTuple

OPENFACE_MAXIMUM = 5.0  # OpenFace intensities run from 0 to 5; the model's from 0 to 1


class ActionUnit(NamedTuple):
    """One action unit: FACS code, what it does, the muscles that do it."""

    code: str
    action: str
    muscles: str
    region: str  # "brow", "eye", "nose", "cheek", "mouth" or "chin"


ANATOMY = (
    ActionUnit("AU01", "inner brow raiser", "frontalis, pars medialis", "brow"),
    ActionUnit("AU02", "outer brow raiser", "frontalis, pars lateralis", "brow"),
    ActionUnit("AU04", "brow lowerer", "corrugator supercilii, depressor supercilii", "brow"),
    ActionUnit("AU05", "upper lid raiser", "levator palpebrae superioris", "eye"),
    ActionUnit("AU06", "cheek raiser", "orbicularis oculi, pars orbitalis", "cheek"),
    ActionUnit("AU07", "lid tightener", "orbicularis oculi, pars palpebralis", "eye"),
    ActionUnit("AU09", "nose wrinkler", "levator labii superioris alaeque nasi", "nose"),
    ActionUnit("AU10", "upper lip raiser", "levator labii superioris", "mouth"),
    ActionUnit("AU12", "lip corner puller", "zygomaticus major", "mouth"),
    ActionUnit("AU14", "dimpler", "buccinator", "mouth"),
    ActionUnit("AU15", "lip corner depressor", "depressor anguli oris", "mouth"),
    ActionUnit("AU17", "chin raiser", "mentalis", "chin"),
    ActionUnit("AU20", "lip stretcher", "risorius, platysma", "mouth"),
    ActionUnit("AU23", "lip tightener", "orbicularis oris", "mouth"),
    ActionUnit("AU25", "lips part", "depressor labii inferioris, relaxed mentalis", "mouth"),
    ActionUnit("AU26", "jaw drop", "masseter, relaxed temporalis", "chin"),
    ActionUnit("AU45", "blink", "relaxed levator palpebrae, orbicularis oculi", "eye"),
)
ACTION_UNITS = tuple(unit.code for unit in ANATOMY)


def positions(wanted: Iterable[str], available: Iterable[str] = ACTION_UNITS) -> list[int]:
    """Places of the ``wanted`` action units in ``available``, in the order wanted.

    Raises:
      ValueError: an action unit is asked for twice, or is not available; the message
        names the nearest one that is.
    """
    wanted, available = list(wanted), list(available)
    if not wanted:
        raise ValueError("action_units is empty: name at least one, such as AU12")
    for code in wanted:
        if code not in available:
            digits = "".join(filter(str.isdigit, code))
            guess = f"AU{digits:0>2}" if digits else code.upper()
            near = difflib.get_close_matches(guess, available, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"action unit {code!r} is not one of {' '.join(available)}{hint}")
        if wanted.count(code) > 1:
            raise ValueError(f"action unit {code} is asked for {wanted.count(code)} times")
    return [available.index(code) for code in wanted]


# Prototypes of the basic emotions (EMFACS, Friesen & Ekman 1983), among the 17 units.
EXPRESSIONS = {
    "happy": ("AU06", "AU12", "AU25"),
    "sad": ("AU01", "AU04", "AU15"),
    "angry": ("AU04", "AU05", "AU07", "AU23"),
    "surprised": ("AU01", "AU02", "AU05", "AU25", "AU26"),
    "disgusted": ("AU09", "AU10", "AU17"),
    "afraid": ("AU01", "AU02", "AU04", "AU05", "AU20", "AU25"),
    "contempt": ("AU12", "AU14"),
}
