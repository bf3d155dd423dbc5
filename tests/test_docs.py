# SPDX-License-Identifier: Apache-2.0
"""What the pages show is there: links, commands, configurations, scripts, the generated parts."""

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from depthkit.cli import VERBS

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md"]
PAGES += sorted((CHECKOUT / "docs").rglob("*.md"))
NAMES = [str(page.relative_to(CHECKOUT)) for page in PAGES]


def commands(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks, continued lines joined."""
    blocks = re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def shown(program: str) -> list[tuple[str, str]]:
    """Return (page, words) of every line that runs a program."""
    found = []
    for name, page in zip(NAMES, PAGES, strict=True):
        for line in commands(page):
            match = re.match(rf"(?:[A-Z_]+=\S+ )*(?:torchrun .* -- )?{program}( .*)?$", line)
            if match:
                found.append((name, (match[1] or "").strip()))
    return found


@pytest.mark.parametrize(("page", "words"), shown("depthkit"))
def test_every_shown_command_is_understood(page: str, words: str) -> None:
    """The verb is there and takes the options as they are written."""
    verb, *rest = shlex.split(words, comments=True)
    assert verb in VERBS, f"{page}: depthkit {words}"
    parser = argparse.ArgumentParser(prog=f"depthkit {verb}", exit_on_error=False)
    importlib.import_module(f"depthkit.cli.{verb}").add_arguments(parser)
    try:
        args = parser.parse_args(rest)
    except SystemExit:
        pytest.fail(f"{page}: not understood: depthkit {words}")
    if verb == "train" and args.config is not None:
        config = CHECKOUT / "configs" / f"{str(args.config).removesuffix('.yaml')}.yaml"
        assert config.is_file() or Path(CHECKOUT / args.config).is_file(), f"{page}: {args.config}"


@pytest.mark.parametrize("name", NAMES)
def test_paths_that_a_page_names_are_there(name: str) -> None:
    """Scripts, configurations and package files that a page shows exist."""
    text = (CHECKOUT / name).read_text(encoding="utf-8")
    paths = set(re.findall(r"(?<![\w/.])((?:scripts|configs|depthkit|docs)/[\w/]+\.\w+)", text))
    missing = sorted(path for path in paths if not (CHECKOUT / path).exists())
    assert not missing, f"{name} names {', '.join(missing)}"


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    """Files and headings that a page links to are there."""
    page = CHECKOUT / name
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{name}: {target}"
        if heading:
            assert heading in headings(file.read_text(encoding="utf-8")), f"{name}: {target}"


def headings(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}


def test_the_readme_is_short() -> None:
    """Under 200 lines, none of which a terminal breaks more than once."""
    lines = (CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 200
    assert max(map(len, lines)) < 240


def test_the_design_page_is_current() -> None:
    """Tree and import table are what the code says; `scripts/write_design.py` renews them."""
    script = [sys.executable, str(CHECKOUT / "scripts" / "write_design.py"), "--check"]
    assert subprocess.run(script, check=False).returncode == 0
