# SPDX-License-Identifier: Apache-2.0
"""Lines of `name = value`: Middlebury calib.txt (`cam0=[f 0 cx; 0 f cy; 0 0 1]`), ScanNet, TOML.

Sections that give one name two values are cameras of their own, such as LEFT_CAM_HD and
RIGHT_CAM_HD of a ZED, where the section's name also tells the size.
"""

import re
from typing import Any

_ZED_SIZES = {
    "2K": ("2208", "1242"), "FHD": ("1920", "1080"), "FHD1200": ("1920", "1200"),
    "HD": ("1280", "720"), "SVGA": ("960", "600"), "VGA": ("672", "376"),
}  # fmt: skip
"""Width and height by the end of the section's name."""
_LINE = re.compile(r"^\s*([A-Za-z_][\w.\- ]*?)\s*=\s*(.+?)\s*;?\s*$")


def parse(text: str) -> dict[str, Any] | None:
    """Return names and texts; None where a line that is no comment or [section] is another thing.

    A matrix in brackets may go over several lines.
    """
    text = re.sub(r"\[[^\[\]=]*(?:\[[^\[\]=]*\][^\[\]=]*)*\]", _on_one_line, text)
    sections: dict[str, dict[str, Any]] = {}
    record = sections.setdefault("", {})
    for line in (re.sub(r"(^|\s)[#%].*$", "", line).strip() for line in text.split("\n")):
        if re.fullmatch(r"\[[\w. ]+\]", line):
            record = sections.setdefault(line.strip("[] "), {})
        if not line or line[0] == "[":
            continue
        match = _LINE.match(line)
        if match is None:
            return None
        value = match[2].strip("\"'")
        is_camera = re.fullmatch(r"cam\w*", match[1]) and "[" in value
        record[match[1]] = {"camera_matrix": value} if is_camera else value
    return _joined(sections) or None


def _joined(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Put sections into one mapping, unless two of them say different things of one name."""
    pairs = [pair for section in sections.values() for pair in section.items()]
    record = dict(pairs)
    if all(record[key] == value for key, value in pairs):
        return record
    top = sections.pop("")
    for name, section in sections.items():
        width, height = _ZED_SIZES.get(name.rpartition("_CAM_")[2], (None, None))
        if "_CAM_" in name and width and "width" not in section:
            section |= {"width": width, "height": height}
    return {**top, **sections}


def _on_one_line(match: "re.Match[str]") -> str:
    return match[0].replace("\n", " ")
