# SPDX-License-Identifier: Apache-2.0
"""The training configurations that come with depthkit, by name: `indoor/redkitchen`.

The folder `configs/` of the checkout is the one source; setup.py puts it into the package as
`depthkit/configs`. Node parameters (`configs/ros`) are none of these.
"""

import difflib
import itertools
import textwrap
from pathlib import Path

from depthkit.errors import ConfigError

_HERE = Path(__file__).resolve().parent
# Installed beside this file; in a checkout, which is what an editable installation runs, above it.
_FOLDERS = (_HERE / "configs", _HERE.parent / "configs")
_WIDTH = 96  # characters of a description


def list_recipes() -> dict[str, Path]:
    """Return the configuration files by name, such as "indoor/redkitchen", in order."""
    folder = next((folder for folder in _FOLDERS if (folder / "demo.yaml").is_file()), _FOLDERS[0])
    files = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.yaml"))
    }
    return {name: path for name, path in files.items() if not name.startswith("ros/")}


def find_recipe(name: Path | str) -> Path:
    """Return a configuration file: the file of this path, else the shipped one of this name.

    Args:
        name: path or shipped name; ".yaml" and a leading "configs/" may be there or not.

    Raises:
        ConfigError: it is neither; the nearest names are named.
    """
    path = Path(name)
    if path.is_file():
        return path
    wanted = path.as_posix().removeprefix("configs/").removesuffix(".yaml")
    recipes = list_recipes()
    if wanted in recipes:
        return recipes[wanted]
    if path.is_absolute() or path.exists():
        return path  # no file and no name: refused where it is read
    raise ConfigError(f"{name}: no such file, and no shipped configuration; {_advice(wanted)}")


def describe_recipe(path: Path) -> str:
    """Return the first sentence of the comment at a configuration's head, cut to one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = itertools.takewhile(lambda line: line.startswith("#"), lines)
    sentence = " ".join(line.lstrip("# ") for line in head).partition(". ")[0]
    return textwrap.shorten(sentence.removesuffix("."), _WIDTH, placeholder=" ...")


def _advice(wanted: str) -> str:
    """Name the nearest shipped names: those of the same last part first."""
    names = list(list_recipes())
    same = [name for name in names if name.rpartition("/")[2] == wanted.rpartition("/")[2]]
    near = same or difflib.get_close_matches(wanted, names, n=3)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"shipped are {', '.join(names)}"
