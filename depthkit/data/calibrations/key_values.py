# SPDX-License-Identifier: Apache-2.0
"""Lines of `name = value`: Middlebury calib.txt (`cam0=[f 0 cx; 0 f cy; 0 0 1]`), ScanNet, TOML."""

import re
from typing import Any

_LINE = re.compile(r"^\s*([A-Za-z_][\w.\- ]*?)\s*=\s*(.+?)\s*;?\s*$")


def parse(text: str) -> dict[str, Any] | None:
    """Return names and texts; None where a line that is no comment or [section] is another thing.

    A matrix in brackets may go over several lines.
    """
    text = re.sub(r"\[[^\[\]=]*(?:\[[^\[\]=]*\][^\[\]=]*)*\]", _on_one_line, text)
    record: dict[str, Any] = {}
    for line in (re.sub(r"(^|\s)[#%].*$", "", line).strip() for line in text.split("\n")):
        if not line or re.fullmatch(r"\[[\w. ]+\]", line):
            continue
        match = _LINE.match(line)
        if match is None:
            return None
        value = match[2].strip("\"'")
        is_camera = re.fullmatch(r"cam\w*", match[1]) and "[" in value
        record[match[1]] = {"camera_matrix": value} if is_camera else value
    return record or None


def _on_one_line(match: "re.Match[str]") -> str:
    return match[0].replace("\n", " ")
