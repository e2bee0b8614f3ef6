"""The documentation: links lead somewhere, and commands have the flags that they show."""

import contextlib
import importlib
import io
import re
import shlex

import pytest
from absl import flags
from helpers import ROOT

from ganimation_jax.__main__ import COMMANDS

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/*/README.md")]
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def code_of(page):
    """Lines of its code blocks and its code in sentences, continued lines joined."""
    text = page.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return [*"\n".join(blocks).replace("\\\n", " ").splitlines(), *inline]


def commands_of(page):
    for line in code_of(page):
        if match := re.match(r"(?:\.venv/bin/)?ganimation (\w[\w-]*) (.*)", line.strip()):
            yield match[1], shlex.split(match[2], comments=True)


def help_of(*words):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit):
        importlib.import_module(f"ganimation_jax.{COMMANDS[words[0]][0]}").main(
            [*words[1:], "--help"]
        )
    return text.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    text = page.read_text()
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if not re.match(r"https?:", target):
            assert (page.parent / target).exists(), f"{target} in {page.name}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_have_the_flags_they_show(page):
    known = {}
    for command, words in commands_of(page):
        assert command in COMMANDS, f"ganimation {command} in {page.name}"
        shown = [word.split("=")[0] for word in words if re.match(r"--[a-z]", word)]
        if command in ("train", "eval"):
            importlib.import_module("ganimation_jax.main")
            for flag in shown:
                assert flag.startswith("--config") or flag[2:] in flags.FLAGS, (command, flag)
            continue
        called = (command, words[0]) if command == "prepare" else (command,)
        if called not in known:
            known[called] = help_of(*called)
        for flag in [*shown, *(word for word in words if re.fullmatch(r"-[a-z]", word))]:
            assert re.search(rf"{flag}\b", known[called]), f"{flag} of {' '.join(called)}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
