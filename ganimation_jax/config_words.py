"""The ``--config`` words of a command line: which file, which fields.

The library's configs lie in ``configs/`` of a clone, and inside the package when it is installed.
Either way they are found from any folder, by name or by path, and a config of your own may begin
with ``from configs import emotionet``.
"""

import ast
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FLAG = re.compile(r"--?config(\.[\w.]+)?(?:=(.*))?", re.DOTALL)
WHILST = "Error whilst parsing config file"  # ml_collections, before a traceback


def folder() -> Path:
    """Where the library's configs lie."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "configs"


def names() -> list[str]:
    """Names of the library's configs."""
    return sorted(path.stem for path in folder().glob("[a-z]*.py"))


def prepare(words: Sequence[str]) -> list[str]:
    """The words as ml_collections takes them: the file found and first, dictionaries as fields.

    Raises:
      ValueError: there is no such config; a dictionary cannot be one of fields.
    """
    files, fields, others = [], [], []
    rest = iter(words)
    for word in rest:
        if word == "--":
            others += [word, *rest]
        elif not (match := FLAG.fullmatch(word)):
            others.append(word)
        else:
            field, value = match[1], match[2]
            value = next(rest, "--") if value is None else value
            if value.startswith("--"):
                raise ValueError(f"{word} needs a value: {word}=VALUE")
            if field:
                fields += [f"--config{name}={text}" for name, text in _fields(field, value)]
            else:
                files.append(f"--config={_find(value)}")
    if files:
        _make_importable()
    return [*files, *fields, *others]


def load(value: str) -> Any:
    """The config ``NAME[:PRESET]`` of the library, or ``FILE[:PRESET]``, as its file makes it.

    Raises:
      ValueError: there is no such file or preset.
    """
    file, _, preset = _find(value).partition(":")
    _make_importable()
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"--config={value}: {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(preset) if preset else module.get_config()


def explain(error: Exception) -> str:
    """What is wrong with the flags, in one line."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    lines = [line for line in text.splitlines() if line.strip()]
    if isinstance(error, KeyError):
        unknown = lines[0].strip("'")
        return " ".join([f"the config has no field {unknown!r}.", *lines[1:]]).rstrip(".")
    if any(WHILST in line for line in lines):
        return re.sub(r"^(\w+\.)*\w*(Error|Exception): ", "", lines[-1])
    return " ".join(line.strip() for line in lines)


def _find(value: str) -> str:
    name, colon, preset = value.partition(":")
    path = Path(name)
    if not path.is_file():
        path = folder() / f"{name.removeprefix('configs/').removesuffix('.py')}.py"
        if path.stem not in names() or path.parent != folder():
            raise ValueError(
                f"--config={value}: there is no file {name}; the library has the configs "
                f"{', '.join(names())}"
            )
    return f"{path}{colon}{preset}"


def _fields(name: str, value: str) -> list[tuple[str, str]]:
    """A field, or the fields of a section that is given as a dictionary."""
    if not value.lstrip().startswith("{"):
        return [(name, value)]
    try:
        section = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        section = None
    if not isinstance(section, dict) or not all(isinstance(key, str) for key in _keys(section)):
        raise ValueError(
            f"--config{name}={value} is no dictionary of fields; write --config{name}.FIELD=VALUE"
        )
    return [
        pair
        for key, inner in section.items()
        for pair in (
            _fields(f"{name}.{key}", repr(inner))
            if isinstance(inner, dict)
            else [(f"{name}.{key}", str(inner))]
        )
    ]


def _keys(section: Mapping[Any, Any]) -> list[Any]:
    inner = [_keys(value) for value in section.values() if isinstance(value, dict)]
    return [*section, *(key for keys in inner for key in keys)]


def _make_importable() -> None:
    """Let a config import another by ``from configs import NAME``: its own folder's come first."""
    if "configs" not in sys.modules:
        spec = importlib.machinery.ModuleSpec("configs", None, is_package=True)
        own = Path.cwd() / "configs"
        places = [str(place) for place in (own, folder()) if place.is_dir()]
        spec.submodule_search_locations = list(dict.fromkeys(places))
        sys.modules["configs"] = importlib.util.module_from_spec(spec)
