# SPDX-License-Identifier: Apache-2.0
"""The import table of the design: who may import whom, read with `ast` from every file."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from depthkit.cli import VERBS

CHECKOUT = Path(__file__).resolve().parent.parent
ANY = frozenset({"*"})
LIGHT = frozenset({"__init__", "cli", "errors", "installation", "recipes"})  # loaded by any --help

# Files that are a part of another one and stand in its row.
PART_OF = {"rigid": "trajectory", "geodesy": "trajectory"}


@dataclass(frozen=True)
class Row:
    """What one package may import, beside itself, the standard library and `errors`."""

    own: frozenset[str]
    """Parts of depthkit; `data.snippet` is that module only; `*` is everything."""
    others: frozenset[str] = ANY
    """Third-party packages; `*` is everything."""
    lazy: frozenset[str] = frozenset()
    """Third-party packages that may be imported inside a function only."""


def row(own: str, others: str = "*", lazy: str = "") -> Row:
    """Write a row as words."""
    return Row(frozenset(own.split()), frozenset(others.split()), frozenset(lazy.split()))


ROS_OWN = "runtime mapping config camera trajectory undistort ros_messages"
MESSAGES = (
    "builtin_interfaces diagnostic_msgs geometry_msgs lifecycle_msgs nav_msgs rcl_interfaces "
    "rosgraph_msgs sensor_msgs std_msgs std_srvs tf2_msgs"
)

TABLE = {
    "errors": row("", ""),
    "installation": row("", ""),
    "recipes": row("", ""),
    "config": row("camera trajectory", "numpy yaml"),
    "camera": row("trajectory", "numpy yaml"),
    "trajectory": row("camera", "numpy yaml"),
    "picture": row("", "numpy cv2"),
    "source_commit": row("", ""),
    "undistort": row("camera", "numpy cv2"),
    "watcher": row("", ""),
    "ros_messages": row("camera trajectory undistort picture", "numpy cv2"),
    "multiview": row("camera trajectory", "numpy cv2", "numba gtsam"),
    "geometry": row("camera trajectory", "numpy torch kornia"),
    "losses": row("geometry"),
    "models": row("geometry multiview.plane_sweep"),
    "data": row("camera trajectory picture undistort ros_messages multiview watcher"),
    "synth": row("data camera trajectory multiview"),
    "tasks": row("losses models geometry data.snippet config"),
    "evaluation": row("trajectory multiview", "numpy matplotlib"),
    "training": row("tasks models data evaluation config camera geometry source_commit"),
    "runtime": row(
        "config camera trajectory multiview", "numpy cv2 onnxruntime", "openvino gtsam numba"
    ),
    "mapping": row("camera trajectory multiview runtime.result", "numpy cv2", "numba"),
    "outputs": row("config data camera trajectory runtime.result", "numpy cv2 yaml", "rerun"),
    "export": row(
        "models tasks runtime config data trajectory geometry multiview.plane_sweep source_commit"
    ),
    "pipelines": row(
        "config camera trajectory picture undistort multiview geometry losses models data synth "
        "tasks evaluation training runtime mapping outputs export watcher recipes"
    ),
    "cli": row("pipelines config recipes"),
    "__main__": row("cli"),
    "__init__": row("pipelines watcher", ""),
    "ros_nodes": row(ROS_OWN, f"numpy cv2 rclpy {MESSAGES}"),
    "ros_nodes.convert": row(ROS_OWN, f"numpy cv2 {MESSAGES}"),
    "ros_nodes.player": row(f"{ROS_OWN} ros_nodes data", f"numpy cv2 rclpy {MESSAGES}"),
}


@dataclass(frozen=True)
class Import:
    """One imported module and where it stands."""

    file: Path
    line: int
    module: str
    at_import: bool
    """It is imported together with the file, not inside a function."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def read_imports(file: Path, root: Path = CHECKOUT) -> list[Import]:
    """List the imports of a file with absolute module names."""
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    relative = file.relative_to(root)
    lazy = {id(node) for outer in ast.walk(tree) if _is_lazy(outer) for node in ast.walk(outer)}
    return [
        Import(relative, node.lineno, module, id(node) not in lazy)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for module in _modules_of(node, relative, root)
    ]


def _is_lazy(node: ast.AST) -> bool:
    """A function body, and a block that only type checkers read."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))


def _modules_of(node: ast.Import | ast.ImportFrom, file: Path, root: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    package = list(file.parent.parts)[: len(file.parent.parts) - node.level + 1]
    above = package if node.level else []
    stem = ".".join([*above, *([node.module] if node.module else [])])
    names = set()
    for alias in node.names:
        inside = root.joinpath(*stem.split("."), alias.name)
        is_module = inside.is_dir() or inside.with_suffix(".py").is_file()
        names.add(f"{stem}.{alias.name}" if is_module else stem)
    yield from sorted(names)


def place_of(parts: tuple[str, ...]) -> str:
    """Return the row in which a module stands, for the parts below `depthkit`."""
    return PART_OF.get(parts[0], parts[0]) if parts else "__init__"


def source_place(file: Path) -> str:
    """Return the row in which a file stands."""
    parts = file.with_suffix("").parts
    if parts[0] != "ros_nodes":
        return place_of(parts[1:])
    # Message making needs no rclpy; the player reads what `prepare` reads, the others only run.
    part = "player" if file.stem.startswith("player") else file.stem
    return f"ros_nodes.{part}" if f"ros_nodes.{part}" in TABLE else "ros_nodes"


def breach(one: Import) -> str | None:
    """Say why an import is not allowed, None when it is."""
    source = source_place(one.file)
    if source not in TABLE:
        return f"{one}: '{source}' has no row in the import table of tests/test_imports.py"
    top, *below = one.module.split(".")
    compiled = one.file.stem.endswith("_kernels")
    if compiled and top == "numba":
        return None  # the decorators of compiled loops; who imports that file does it lazily
    if below and below[-1].endswith("_kernels") and one.at_import and not compiled:
        return f"{one}: compiled loops are imported inside a function"
    if top in ("depthkit", "ros_nodes"):
        return _own_breach(one, source, tuple(below) if top == "depthkit" else (top,))
    allowed = TABLE[source].others
    if top in sys.stdlib_module_names or "*" in allowed or top in allowed:
        return None
    if top in TABLE[source].lazy:
        return f"{one}: import it inside a function" if one.at_import else None
    return f"{one}: '{source}' may use {_words(allowed)} beside the standard library"


def _own_breach(one: Import, source: str, below: tuple[str, ...]) -> str | None:
    target = place_of(below)
    allowed = TABLE[source].own
    # The version, the own row, the errors and their advice are open to all.
    open_to_all = {"__init__", source, "errors", "installation"}
    if target in open_to_all or "*" in allowed or target in allowed:
        return None
    if ".".join(below[:2]) in allowed:
        return None
    return f"{one}: '{source}' may use {_words(allowed)} of depthkit"


def _words(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def project_imports() -> list[Import]:
    """List all imports of the project's own code."""
    folders = [CHECKOUT / "depthkit", CHECKOUT / "ros_nodes"]
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return [one for file in files for one in read_imports(file)]


def test_imports_follow_the_table() -> None:
    """Every import of every file stands in the table of the design."""
    imports = project_imports()
    assert len(imports) > 50, "the reader found next to nothing; look at the folders"
    breaches = [reason for one in imports if (reason := breach(one))]
    assert not breaches, "\n" + "\n".join(breaches)


def test_no_namespace_leaves_the_command_line() -> None:
    """Below cli a job has options of its own: no file there knows argparse."""
    users = {one.file.parts[:2] for one in project_imports() if one.module == "argparse"}
    assert {place for place in users if place[0] == "depthkit"} == {("depthkit", "cli")}


def files_of(imports: list[Import]) -> dict[Path, set[Path]]:
    """Return which files of the project each of its files loads when it is imported itself."""
    graph: dict[Path, set[Path]] = {}
    for one in imports:
        targets = graph.setdefault(one.file, set())
        path = Path(*one.module.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if one.at_import and (CHECKOUT / file).is_file() and file != one.file:
                targets.add(file)
    return graph


def circle_in(graph: dict[Path, set[Path]]) -> str:
    """Name the files of a circle of imports; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(map(str, reversed(error.args[1])))
    return ""


def test_no_circle_of_files() -> None:
    """No two files need each other to be imported: each can be read, and moved, after the other."""
    graph = files_of(project_imports())
    assert sum(map(len, graph.values())) > 500, "the reader found next to nothing"
    assert circle_in(graph) == ""


def test_a_circle_is_found_and_named() -> None:
    """Over one file or over three; a chain is none."""
    a, b, c = (Path("depthkit/config") / f"{name}.py" for name in ("ranges", "data", "train"))
    assert circle_in({a: {b}, b: {c}, c: set()}) == ""
    assert set(circle_in({a: {b}, b: {c}, c: {a}}).split(" -> ")) == {str(a), str(b), str(c)}
    imports = [Import(c, 1, "depthkit.config.data", True), Import(b, 1, "depthkit.config", False)]
    assert files_of(imports) == {c: {b}, b: set()}


def test_verbs_import_heavy_libraries_inside_run() -> None:
    """What `--help` of a verb loads is the standard library, light files of cli, and the errors."""
    imports = [one for one in project_imports() if one.at_import]
    light, heavy = loaded_for_help(imports), []
    for one in imports:
        if one.file not in light:
            continue
        top, *below = one.module.split(".")
        own = top == "depthkit" and place_of(tuple(below)) in LIGHT
        if not own and top not in sys.stdlib_module_names:
            heavy.append(f"{one}: import it inside run()")
    assert not heavy, "\n" + "\n".join(heavy)


def loaded_for_help(imports: list[Import]) -> set[Path]:
    """List the files of cli that come with a verb, other than through run()."""
    folder = Path("depthkit/cli")
    found = {folder / f"{name}.py" for name in ("__init__", *VERBS)}
    while True:
        named = {one.module for one in imports if one.file in found}
        more = {Path(*name.split(".")).with_suffix(".py") for name in named if ".cli." in name}
        if more <= found:
            return found
        found |= more


@pytest.mark.parametrize(
    ("file", "line", "reason"),
    [
        ("losses/a.py", "from depthkit.models import encoder", "may use geometry of depthkit"),
        ("losses/a.py", "from ..config import X", "may use geometry of depthkit"),
        ("losses/a.py", "from depthkit import config", "may use geometry of depthkit"),
        ("camera.py", "import torch.nn", "may use numpy, yaml beside"),
        ("evaluation/a.py", "def f():\n    import torchvision", "may use matplotlib, numpy"),
        ("runtime/a.py", "import torch", "may use cv2, numpy, onnxruntime"),
        ("runtime/a.py", "import openvino", "inside a function"),
        ("tasks/a.py", "from depthkit.data.sequence import x", "data.snippet"),
        (
            "data/a.py",
            "import depthkit.geometry.warp",
            "may use camera, multiview, picture, ros_messages",
        ),
        ("attic/a.py", "import os", "has no row"),
    ],
)
def test_reader_finds_what_is_forbidden(tmp_path: Path, file: str, line: str, reason: str) -> None:
    """Each way to write a forbidden import is found, with file, line and import."""
    found = [text for one in imports_of(tmp_path, file, line) if (text := breach(one))]
    assert len(found) == 1
    assert found[0].startswith(f"depthkit/{file}:{line.count(chr(10)) + 1} imports ")
    assert reason in found[0]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("losses/a.py", "from depthkit.geometry.warp import x\nfrom depthkit.errors import E"),
        ("losses/a.py", "from . import b\nfrom .b import c"),
        ("tasks/a.py", "from depthkit.data.snippet import Snippet"),
        ("tasks/a.py", "from depthkit.data import snippet"),
        ("geometry/a.py", "import kornia\nfrom depthkit.rigid import x"),
        ("cli/a.py", "def run():\n    import depthkit.pipelines.prepare"),
        ("runtime/a.py", "from depthkit import __version__\nimport json"),
        ("runtime/a.py", "def f():\n    import openvino"),
    ],
)
def test_reader_leaves_what_is_allowed(tmp_path: Path, file: str, line: str) -> None:
    """What the table allows is no breach."""
    assert [breach(one) for one in imports_of(tmp_path, file, line) if breach(one)] == []


def imports_of(root: Path, file: str, text: str) -> list[Import]:
    """Read the imports of a made-up file in a made-up checkout."""
    for name in ("data/snippet.py", "models/encoder.py", "losses/b.py", "config.py", file):
        path = root / "depthkit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "depthkit" / file).write_text(text, encoding="utf-8")
    return read_imports(root / "depthkit" / file, root)


LIGHT_STARTS = [
    "import depthkit",
    "import depthkit.cli",
    "import depthkit.config, depthkit.config.strict_yaml",
    "from depthkit.cli import main; main(['--help'])",
    "from depthkit.cli import main; main(['train', '--help'])",
    "import depthkit.runtime",
    "import depthkit.pipelines, depthkit.pipelines.models",
    "import depthkit; depthkit.open_model",
]


@pytest.mark.parametrize("code", LIGHT_STARTS)
def test_light_start_loads_no_heavy_library(code: str) -> None:
    """What the robot and every --help load holds neither torch nor torchvision nor OpenCV."""
    if "runtime" in code and not (CHECKOUT / "depthkit/runtime/__init__.py").exists():
        pytest.skip("depthkit.runtime comes with a later issue")
    watched = ("torch", "torchvision", "cv2")
    code += f"; import sys; print(*[m for m in {watched} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "\n")
