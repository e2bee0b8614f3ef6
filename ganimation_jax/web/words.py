"""The page's words for muscles, and what it says about a model."""

from typing import Any

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.targets import NEUTRAL, PRESETS, expression

# What a person would say that a muscle does, by action unit.
PLAIN = {
    "AU01": "Lift the inner brows",
    "AU02": "Lift the outer brows",
    "AU04": "Lower the brows",
    "AU05": "Open the eyes wide",
    "AU06": "Raise the cheeks",
    "AU07": "Narrow the eyes",
    "AU09": "Wrinkle the nose",
    "AU10": "Raise the upper lip",
    "AU12": "Smile",
    "AU14": "Make dimples",
    "AU15": "Mouth corners down",
    "AU17": "Push the chin up",
    "AU20": "Stretch the lips",
    "AU23": "Press the lips",
    "AU25": "Part the lips",
    "AU26": "Drop the jaw",
    "AU45": "Close the eyes",
}
GROUPS = {
    "brow": "Brows",
    "eye": "Eyes",
    "cheek": "Cheeks and nose",
    "nose": "Cheeks and nose",
    "mouth": "Mouth",
    "chin": "Chin and jaw",
}
OTHER = "Other"
EYES, MOUTH = "eyes", "mouth"  # regions whose expression can be copied alone
REGIONS = {"brow": EYES, "eye": EYES, "cheek": EYES, "nose": MOUTH, "mouth": MOUTH, "chin": MOUTH}


def muscles(units: tuple[str, ...]) -> list[dict[str, str]]:
    """A model's conditions, in groups from the brows downwards, each with its words."""
    known = {unit.code: unit for unit in ANATOMY}
    found = []
    for name in units:
        if name in known:
            unit = known[name]
            found.append(
                {
                    "name": name,
                    "label": PLAIN[name],
                    "group": GROUPS[unit.region],
                    "region": REGIONS[unit.region],
                    "tooltip": f"{name}, {unit.action}: {unit.muscles}",
                }
            )
        else:
            label = name.replace("_", " ")
            found.append(
                {"name": name, "label": label, "group": OTHER, "region": "", "tooltip": name}
            )
    order = [*dict.fromkeys(GROUPS.values()), OTHER]
    return sorted(found, key=lambda one: order.index(one["group"]))


def expressions(units: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Neutral and each expression that the model has action units for, at full strength."""
    names = [*(name for name, parts in PRESETS.items() if set(parts) & set(units)), NEUTRAL]
    return {name: expression(name, units, 1.0) for name in names}


def about(animator: Animator) -> dict[str, Any]:
    """What the page says about a model."""
    model = animator.model
    facts = {
        "Model": model.name,
        "Face": f"{model.image_size} x {model.image_size} pixels",
        "Colour": "edits brightness only; it was trained on grey faces" if model.grey else "",
        "Trained on": model.about.get("data", ""),
        "Licence": model.about.get("licence", ""),
        "Please note": model.about.get("notice", ""),
        "Weights": f"SHA-256 {model.sha256}",
    }
    return {
        "name": model.name,
        "size": model.image_size,
        "facts": {name: str(fact) for name, fact in facts.items() if fact},
    }
