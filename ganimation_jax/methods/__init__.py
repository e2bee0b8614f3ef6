"""Methods of expression editing: one file each, loaded by name.

A method's module has these, and nothing outside this room knows which method it is:

    model(cfg) -> Model                 all that using it needs
    training(cfg, facts) -> Training    all that training it needs
    check(cfg)                          raises ValueError for a config that cannot be trained
    MODEL_FIELDS                        config fields, or their prefixes, that fix the networks

A method with published PyTorch weights has a file ``NAME_torch.py``, by which they are imported and
exported:

    NETWORKS                            names of its networks; an import needs the first
    CONDITIONS                          the config field that names its conditions
    CONFIG                              the file in ``configs/`` that trains it
    names(nets) -> {network: names}     our path of each parameter -> its name in PyTorch
    config(states)                      the config fields of networks with these arrays; of
                                        ``CONDITIONS`` the names, or how many there may be (a range)
"""

import importlib
import importlib.util
from typing import Any

METHODS = ("ganimation", "stargan", "cyclegan", "diat", "diat2018", "icgan")


def load(name: object) -> Any:
    """The module of a method.

    Raises:
      ValueError: there is no such method.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r} is not one of {', '.join(METHODS)}")
    return importlib.import_module(f"ganimation_jax.methods.{name}")


def published(name: str) -> Any:
    """The file that states the names of a method's published PyTorch weights; None: there is none.

    Raises:
      ValueError: there is no such method.
    """
    load(name)
    module = f"ganimation_jax.methods.{name}_torch"
    return importlib.import_module(module) if importlib.util.find_spec(module) else None
