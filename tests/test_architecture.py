"""Which room may look into which: parsed from the imports (DESIGN: dependencies point one way)."""

import ast
import re
import subprocess
import sys

import pytest
from helpers import ROOT

from ganimation_jax.methods import METHODS

PACKAGE = ROOT / "ganimation_jax"
# A room, and the rooms below it that it may import. SHARED may be imported by every room.
SHARED = {"types", "edits", "conditions", "action_units", "version", "backend"}
ALLOWED = {
    "version": set(),
    "backend": set(),
    "action_units": set(),
    "conditions": set(),
    "types": set(),
    "edits": set(),
    "files": set(),
    "media": {"files"},
    "faces": {"files", "media"},
    "features": {"files", "faces"},
    "models": set(),
    "steps": {"features"},
    "methods": {"models", "steps", "features"},
    "synthetic": {"files", "media", "faces", "features"},
    "data": {"files", "faces", "synthetic"},
    "parallel": set(),
    "runs": {"files", "media", "methods", "models", "parallel", "steps"},
    "logs": {"files"},
    "reports": {"files"},
    "evaluation": {
        "files",
        "media",
        "faces",
        "features",
        "synthetic",
        "data",
        "methods",
        "runs",
        "reports",
        "steps",
        "interop",
    },
    "training": {
        "files",
        "data",
        "faces",
        "methods",
        "models",
        "steps",
        "parallel",
        "runs",
        "logs",
        "reports",
        "evaluation",
    },
    "prepare": {"files", "media", "faces", "features", "synthetic", "data", "reports"},
    "animation": {"files", "media", "faces", "methods", "runs", "reports", "interop"},
    "web": {"files", "media", "faces", "runs", "reports", "animation"},
    "interop": {"config_words", "files", "methods", "models", "steps", "runs"},
    "sweep": {"files", "logs"},
    "bench": {
        "config_words",
        "files",
        "methods",
        "models",
        "steps",
        "parallel",
        "data",
        "synthetic",
    },
    "config_words": set(),
    "main": {"config_words", "evaluation", "files", "parallel", "training"},
    "completion": {"animation", "config_words", "runs"},
    "__main__": {"completion", "parallel"},
}
# Optional packages: each is imported in one file, lazily.
OPTIONAL = {"av", "torch", "wandb", "mediapipe", "onnx", "jax2onnx", "pillow_heif"}


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    """(module, at the top of the file) for each import."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        top = node in tree.body
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "ganimation_jax":
                yield from ((f"ganimation_jax.{alias.name}", top) for alias in node.names)
            else:
                yield node.module, top


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_dependencies_point_one_way(path):
    room = room_of(path)
    assert room in ALLOWED, f"say in this test what {room} may import"
    for module, top in imports_of(path):
        parts = module.split(".")
        if parts[0] == "ganimation_jax" and len(parts) > 1 and parts[1] != room:
            assert parts[1] in ALLOWED[room] | SHARED, f"{room} imports {module}"
        if parts[0] in OPTIONAL:
            assert not top, f"{module} must be imported where it is used"
        assert parts[0] not in ("configs", "tests", "experiments")


# Rooms that state methods, and the benchmark of the published method's step.
KNOWING = {"methods", "models", "steps"}
ABOUT_ONE = {"bench/workload.py", "bench/exact.py"}
# Other methods' names anywhere. The first one's is also the program's, ``version.PROGRAM``: it
# must not stand anywhere else as a text by itself.
OTHER_METHODS = re.compile(rf"\b({'|'.join([*METHODS[1:], 'wgan'])})\b", re.IGNORECASE)
METHOD_WORDS = re.compile(
    r"methods(\.| import )(?!load\b|METHODS\b|published\b)\w+"  # a method by name
    r"|[\"'](critic|generator)/"  # a metric of one method's losses
    r"|\bloss\.(aus|cycle|attention|penalty|total_variation)\b"  # their weights
    r"|(cfg|config)\S*method\W* (==|!=|in) "  # a branch on the method
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_methods_know_methods(path):
    if room_of(path) in KNOWING or path.relative_to(PACKAGE).as_posix() in ABOUT_ONE:
        return
    lines = path.read_text().splitlines()
    assert not [one for one in lines if METHOD_WORDS.search(one) or OTHER_METHODS.search(one)]
    if room_of(path) != "version":
        words = [node for node in ast.walk(ast.parse(path.read_text())) if is_text(node)]
        assert not [node.lineno for node in words if node.value == METHODS[0]]


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_optional_packages_are_imported_in_one_file_each():
    users = {}
    for path in FILES:
        for module, _ in imports_of(path):
            if (package := module.split(".")[0]) in OPTIONAL:
                users.setdefault(package, set()).add(str(path.relative_to(PACKAGE)))
    assert {package: len(files) for package, files in users.items()} == dict.fromkeys(users, 1)


@pytest.mark.parametrize(
    "room",
    ["data", "faces", "files", "media", "prepare", "synthetic", "action_units", "conditions"],
)
def test_loaders_never_import_jax(room):
    # Grain imports it by itself today; our modules must not be what stands in the way.
    for path in FILES:
        if room_of(path) == room:
            assert not [m for m, _ in imports_of(path) if m.split(".")[0] in ("jax", "flax")], path


def test_the_package_imports_nothing_heavy():
    code = (
        "import sys, ganimation_jax; sys.exit(bool({'jax', 'numpy', 'torch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_editing_starts_without_what_only_training_needs():
    heavy = {"orbax", "grain", "wandb", "tensorflow_datasets", "torch", "matplotlib"}
    heavy |= {"flax", "optax", "ml_collections", "jinja2", "scipy.ndimage", "scipy.spatial"}
    code = (
        "import sys, ganimation_jax.animation.starting, ganimation_jax.animation.jobs; "
        f"sys.exit(', '.join(sorted({heavy} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stderr.strip(), done.returncode) == ("", 0)


def test_packages_are_one_level_deep():
    assert not [p for p in PACKAGE.rglob("*.py") if len(p.relative_to(PACKAGE).parts) > 2]


def test_every_room_is_a_package():
    """setuptools leaves a folder without ``__init__.py`` out of the wheel."""
    rooms = {path.parent for path in FILES}
    assert [str(room) for room in rooms if not (room / "__init__.py").exists()] == []
