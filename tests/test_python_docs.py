# SPDX-License-Identifier: Apache-2.0
"""The snippets of docs/python.md run, in their order, and print what their comments say."""

import re
from pathlib import Path

import pytest

import depthkit

PAGE = Path(__file__).resolve().parent.parent / "docs" / "python.md"


def snippets() -> list[str]:
    """Return the fenced pieces of Python of the page."""
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def test_snippets_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader who pastes one after the other into a notebook gets through to the end."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    found = snippets()
    assert len(found) >= 7
    for snippet in found:
        exec(compile(snippet, str(PAGE), "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert "(8, 4, 4)" in lines and "(64, 96) bool" in lines
    assert "0 no past frame yet" in lines
    assert "8 0.875 metric" in lines
    assert "out: exists already; use --force to replace it" in lines


def test_page_names_all_that_is_offered() -> None:
    """A public name that the page leaves out is a name that nobody finds."""
    text = PAGE.read_text(encoding="utf-8")
    missing = [name for name in depthkit.__all__ if not re.search(rf"\b{name}\b", text)]
    assert missing == []
