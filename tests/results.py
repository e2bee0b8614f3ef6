"""Results of an evaluation, and how a page of them is read in tests."""

import html.parser
import math

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.evaluation.results import Response, Result, Section
from ganimation_jax.evaluation.scores import HIGHER, LOWER, ONE, Score

NAN = math.nan
LOW = ("AU14", "AU15", "AU17", "AU20", "AU23")
QUALITY = {u: "none" if u == "AU09" else "low" if u in LOW else "good" for u in ACTION_UNITS}
LEVELS = np.array([0, 0.25, 0.5, 0.75, 1])


def by_unit(group, name, units, values, quality, better=HIGHER):
    """As ``evaluation.means.by_unit``."""
    for baseline, grade in (("", "good"), ("low_confidence", "low")):
        if members := [u for u in units if quality[u] == grade]:
            value = float(np.mean([values[u] for u in members]))
            yield Score(group, name, value, 0.011, baseline=baseline, better=better)
    for unit in units:
        served = quality[unit] != "none"
        value, se = (values[unit], 0.023) if served else (NAN, NAN)
        yield Score(group, name, value, se, unit=unit, better=better)


def readings(group, units, quality, rng, strength):
    yield Score(group, "unread", 0.0117, better=LOWER)
    for name, middle, better in (
        ("mae", 0.25 - 0.15 * strength, LOWER),
        ("r", strength, HIGHER),
        ("icc", strength - 0.1, HIGHER),
    ):
        values = {u: float(np.clip(rng.normal(middle, 0.08), 0, 0.97)) for u in units}
        yield from by_unit(group, name, units, values, quality, better)


def make_result(name="run_a", units=ACTION_UNITS, strength=0.6, seed=0):
    """What the suite finds in a run of that strength."""
    rng = np.random.default_rng(seed)
    good = dict.fromkeys(units, "good")
    quality = {u: QUALITY[u] for u in units}
    sections, responses = [], []
    for judge, grades, lift in (("own", good, 0.25), ("mediapipe", quality, 0.0)):
        of_judge = {"judge": judge, "quality": grades}
        title = f"{judge.capitalize()} on edits"
        about = "How far the reading of an edit is what was requested. The mean is of good units."
        found = [*readings(f"{judge}_on_edits", units, grades, rng, strength + lift)]
        found.append(Score(f"{judge}_on_edits", "mae", 0.2345, baseline="no_edit", better=LOWER))
        edits = Section(f"{judge}_on_edits", title, about, found, kind="edits", **of_judge)
        slope = {u: float(rng.normal(strength + lift, 0.15)) for u in units}
        measured = np.array([np.clip(0.06 + slope[u] * LEVELS, 0, 1.2) for u in units])
        measured[[grades[u] == "none" for u in units]] = NAN
        error = np.where(np.isfinite(measured), 0.02 + 0.03 * LEVELS, NAN)
        responses.append(Response(judge, LEVELS, measured, error, grades))
        title = f"Controllability, {judge}"
        about = "Slope of the reading against the request, each unit alone."
        group = f"controllability_{judge}"
        found = [*by_unit(group, "slope", units, slope, grades, ONE), Score(group, "unread", 0.0)]
        sections += [edits, Section(group, title, about, found, kind="control", **of_judge)]
    own = [*readings("own_on_real", units, good, rng, 0.7)]
    sections.append(
        Section("own_on_real", "Real faces", "A detector.", own, kind="real", judge="own")
    )
    identity = [
        Score("identity", "distance", 0.31, 0.0121, better=LOWER),
        Score("identity", "distance", 0.42, 0.0121, baseline="same_person", better=LOWER),
        Score("identity", "distance", 0.79, 0.0121, baseline="other_person", better=LOWER),
        Score("identity", "verified", 0.981, 0.0121, better=HIGHER),
        Score("identity", "verified", 0.95, baseline="same_person", better=HIGHER),
        Score("identity", "pairs", 203, baseline="same_person"),
    ]
    sections.append(Section("identity", "Identity", "Distances of face descriptors.", identity))
    sets = [
        Score("", "KID-VGG16", 0.0123 / strength, 0.0011, better=LOWER),
        Score("", "Frechet-VGG16", 31.4, better=LOWER),
        Score("", "Frechet-VGG16", 12.2, baseline="bias"),
    ]
    sections.append(Section("vgg16", "Image quality", "Of sets.", sets, kind="sets"))
    pixels = [
        Score("reconstruction", "psnr", 27.81, 0.21, better=HIGHER),
        Score("reconstruction", "psnr", 24.1, baseline="no_edit", better=HIGHER),
        Score("reconstruction", "undefined", NAN),
    ]
    sections.append(Section("pixels", "Edits undone", "Of pairs.", pixels))
    attention = [Score("attention", n, v) for n, v in (("mean", 0.713), ("near_0", 0.05))]
    sections.append(Section("attention", "Attention mask", "Kept shares.", attention))
    why = "OpenFace is not here: give its FaceLandmarkImg with --openface"
    sections.append(Section("openface_on_edits", "OpenFace on edits", "", [], why))
    facts = {"run": name, "step": 30_000, "images": 3_840_000, "data": "lfw_openface/128"}
    facts |= {"examples": 1024, "date": "2026-11-24", "versions": "jax 0.10.2, flax 0.12.8"}
    facts |= {"device": "1 x NVIDIA H100"}
    config = {"method": "ganimation", "lr": 1e-4, "critic": {"width": 64}, "action_units": [*units]}
    return Result(facts, config, tuple(units), sections, responses)


class Reader(html.parser.HTMLParser):
    """Checks that tags nest; collects text and attributes."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.tags, self.links = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
