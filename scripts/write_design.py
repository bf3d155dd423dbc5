#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write what docs/design.md says of the code from the code: the tree, and who may import whom.

python scripts/write_design.py [--check]
"""

import argparse
import ast
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
PAGE = HERE / "docs" / "design.md"
PACKAGES = ("depthkit", "ros_nodes")
BEGIN, END = "<!-- {} begins: scripts/write_design.py writes it -->", "<!-- {} ends -->"


def first_line(file: Path) -> str:
    """Return the first line of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].removesuffix(".")


def tree() -> str:
    """Return the packages' files, each with its first line, folder by folder."""
    lines = ["```"]
    for package in PACKAGES:
        lines += _folder(HERE / package, 0)
    return "\n".join([*lines, "```"])


def _folder(folder: Path, depth: int) -> list[str]:
    pad = "  " * depth
    lines = [f"{pad}{folder.name + '/':{34 - len(pad)}} {first_line(folder / '__init__.py')}"]
    inside = sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name))
    for path in inside:
        if path.is_dir() and (path / "__init__.py").exists():
            lines += _folder(path, depth + 1)
        elif path.suffix == ".py" and path.name[:2] != "__":
            lines.append(f"{pad}  {path.name:{32 - len(pad)}} {first_line(path)}")
    return lines


def import_table() -> str:
    """Return the rows of the test that guards the imports."""
    sys.path.insert(0, str(HERE / "tests"))
    from test_imports import TABLE

    lines = ["| part | parts of the project | other packages |", "| --- | --- | --- |"]
    for name, row in TABLE.items():
        own, others = " ".join(sorted(row.own)), " ".join(sorted(row.others))
        lazy = f"; inside functions: {' '.join(sorted(row.lazy))}" if row.lazy else ""
        anything = "any" if others == "*" else others
        lines.append(f"| `{name}` | {own or 'none'} | {anything or 'none'}{lazy} |")
    return "\n".join(lines)


def page() -> str:
    """Return the page with its generated parts renewed."""
    text = PAGE.read_text(encoding="utf-8")
    for name, part in (("tree", tree()), ("import table", import_table())):
        begin, end = BEGIN.format(name), END.format(name)
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> int:
    """Write the page, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 where the page is not current")
    text = page()
    if parser.parse_args().check:
        return int(text != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
