"""Labels in what is asked for: they are 0 or 1, and of a group a face shows exactly one.

``targets`` checks names and intensities; here is what labels add. Models of action units alone pass
through unchanged.
"""

from collections.abc import Mapping, Sequence

from ganimation_jax.animation.targets import STRENGTH, Aus, expression
from ganimation_jax.conditions import Condition


def named(
    name: str, conditions: Sequence[Condition], strength: float | None = None
) -> dict[str, float]:
    """An expression by name: a label of the model, or the action units of a basic emotion.

    Args:
      name: a member of one of the model's groups, a binary label, or as for
        ``targets.expression``.
      conditions: of the model.
      strength: of an expression made of action units, [0, 1.5]; None: 1.

    Returns:
      values by name; conditions that are not named keep the face's own values.

    Raises:
      ValueError: the model has no such expression, or knows no degrees of it.
    """
    labels = labels_of(conditions)
    if name in labels:
        if strength is not None:
            raise ValueError(f"{name} is a label of this model, which has no strength")
        return with_rivals({name: 1.0}, conditions)
    units = [one.name for one in conditions if one.kind == "intensity"]
    if not units:
        raise ValueError(f"this model has no expression {name!r}; it has {' '.join(labels)}")
    return expression(name, units, STRENGTH if strength is None else strength)


def spelled_out(aus: Aus, conditions: Sequence[Condition]) -> Aus:
    """What is asked for, with what labels imply: see ``named`` and ``with_rivals``."""
    if isinstance(aus, str):
        return named(aus, conditions)
    return with_rivals(aus, conditions) if isinstance(aus, Mapping) else aus


def with_rivals(aus: Mapping[str, float], conditions: Sequence[Condition]) -> dict[str, float]:
    """Add a 0 for each condition that excludes one whose value is 1 ("happy" excludes "sad").

    Raises:
      ValueError: two conditions that exclude each other are asked for.
    """
    groups = {one.name: one.group for one in conditions if one.kind == "one_of"}
    found = dict(aus)
    for name, value in aus.items():
        if name in groups and value == 1:
            rivals = [other for other in groups if groups[other] == groups[name] and other != name]
            if both := [other for other in rivals if aus.get(other) == 1]:
                raise ValueError(f"a face shows one of {name} and {both[0]}: ask for one of them")
            found |= dict.fromkeys(rivals, 0.0)
    return found


def check(aus: Mapping[str, float], conditions: Sequence[Condition], relative: bool) -> None:
    """Refuse values that a label cannot have.

    Raises:
      ValueError: a label is neither 0 nor 1, or is to be added to what the face shows; or all that
        is asked of a group is that one of its members be absent.
    """
    kinds = {one.name: one for one in conditions if one.kind != "intensity"}
    for name, value in aus.items():
        if name not in kinds:
            continue
        if relative:
            raise ValueError(f"{name} is a label: it is set, and --relative does not apply to it")
        if value not in (0.0, 1.0):
            raise ValueError(f"{name}={value:g}: {name} is a label, which is 0 or 1")
        group = kinds[name].group
        members = [one for one in conditions if one.group == group]
        if group and not value and not any(aus.get(one.name) == 1 for one in members):
            others = " ".join(one.name for one in members if one.name != name)
            raise ValueError(f"{name}=0: name what the face is to show instead, of {others}")


def decided(aus: Mapping[str, float], conditions: Sequence[Condition]) -> dict[str, float]:
    """Read values with labels made 0 or 1: the most likely of a group, and what is above 0.5."""
    best: dict[str, str] = {}
    for one in conditions:
        if one.kind == "one_of" and one.name in aus:
            best[one.group] = max(best.get(one.group, one.name), one.name, key=lambda x: aus[x])
    kinds = {one.name: one for one in conditions}
    found = dict(aus)
    for name, value in aus.items():
        if kinds[name].kind == "binary":
            found[name] = float(value > 0.5)
        elif kinds[name].kind == "one_of":
            found[name] = float(best[kinds[name].group] == name)
    return found


def labels_of(conditions: Sequence[Condition]) -> list[str]:
    """Names of the conditions that are labels."""
    return [one.name for one in conditions if one.kind != "intensity"]
