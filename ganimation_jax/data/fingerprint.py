"""Telling one dataset from another without reading its pictures."""

import hashlib

import numpy as np

from ganimation_jax.data.examples import Source


def fingerprint(source: Source) -> str:
    """A digest that changes with the faces of a split, their number, order and labels.

    Args:
      source: one split of a dataset.

    Returns:
      16 hexadecimal digits.
    """
    table = np.ascontiguousarray(source.aus_table(), np.dtype("<f4"))
    # Of the records, pictures included: written by `prepare` when it packs them.
    records = getattr(source, "records_sha256", "")
    units = tuple(one.name for one in source.conditions if one.kind == "intensity")
    facts = (units, len(source), table.shape, records)
    digest = hashlib.sha256(repr(facts).encode())
    digest.update(table.tobytes())
    # Nothing is added without labels: runs from before there were labels resume.
    if labels := [tuple(one) for one in source.conditions if one.kind != "intensity"]:
        digest.update(repr(labels).encode())
        digest.update(np.ascontiguousarray(source.label_table(), np.dtype("<f4")).tobytes())
    return digest.hexdigest()[:16]
