# SPDX-License-Identifier: Apache-2.0
"""Shipped configurations by name: which file wins, what is said of a wrong name, where they lie."""

import subprocess
import sys
from pathlib import Path

import pytest

from depthkit import recipes
from depthkit.cli import main
from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parent.parent
KITCHEN = CHECKOUT / "configs" / "indoor" / "redkitchen.yaml"


def test_recipes_are_the_trainable_files_of_the_checkout():
    """Every YAML under configs/ but the node parameters, named by its path without the suffix."""
    files = set((CHECKOUT / "configs").rglob("*.yaml")) - set(CHECKOUT.glob("configs/ros/*"))
    found = recipes.list_recipes()
    assert set(found.values()) == files
    assert found["indoor/redkitchen"] == KITCHEN and "demo" in found
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    "name",
    [
        "indoor/redkitchen",
        "indoor/redkitchen.yaml",
        "configs/indoor/redkitchen",
        "configs/indoor/redkitchen.yaml",
        Path("indoor/redkitchen"),
    ],
)
def test_recipe_is_found_from_anywhere(name, tmp_path, monkeypatch):
    """With and without the suffix, and as the README writes it in the checkout."""
    monkeypatch.chdir(tmp_path)
    assert recipes.find_recipe(name) == KITCHEN


def test_a_file_that_exists_wins(tmp_path, monkeypatch):
    """One's own file of a shipped name is read; a folder of that name is no configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "indoor").mkdir()
    (tmp_path / "demo").mkdir()
    own = tmp_path / "indoor" / "redkitchen.yaml"
    own.write_text("optimizer: {steps: 7}\n")
    assert recipes.find_recipe("indoor/redkitchen.yaml").resolve() == own
    assert recipes.find_recipe("demo") == CHECKOUT / "configs" / "demo.yaml"
    found = load_config(TrainConfig, recipes.find_recipe("indoor/redkitchen.yaml"))
    assert found.optimizer.steps == 7


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("redkitchen", "did you mean 'indoor/redkitchen'?"),
        ("indor/redkitchen.yaml", "did you mean 'indoor/redkitchen'?"),
        ("uav/depth_net", "'uav/depthnet'"),
        ("qqq", "shipped are demo, driving/coop,"),
    ],
)
def test_unknown_name_tells_the_nearest(name, advice, tmp_path, monkeypatch):
    """One line: neither a file nor a shipped name, and what was likely meant."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        recipes.find_recipe(name)
    line = str(caught.value)
    assert line.startswith(f"{name}: no such file, and no shipped configuration; ")
    assert advice in line and "\n" not in line


def test_a_missing_absolute_path_is_no_name(tmp_path):
    """An absolute path is returned for the reader to refuse: no shipped file answers for it."""
    missing = tmp_path / "indoor" / "redkitchen.yaml"
    assert recipes.find_recipe(missing) == missing


def test_descriptions_are_the_first_sentence(tmp_path):
    """The comment at the head up to its full stop, on one line, cut at 96 characters."""
    file = tmp_path / "a.yaml"
    file.write_text("# Depth of caves,\n# learnt at night. More follows.\ndata: {}\n# no head\n")
    assert recipes.describe_recipe(file) == "Depth of caves, learnt at night"
    file.write_text("# " + "word " * 60 + "\n")
    long = recipes.describe_recipe(file)
    assert len(long) <= 96 and long.endswith("word ...")
    file.write_text("data: {}\n")
    assert recipes.describe_recipe(file) == ""


def test_train_list_names_each_with_its_line(capsys):
    """`depthkit train --list` needs no configuration and shows every name once."""
    assert main(["train", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(recipes.list_recipes())
    assert all(line.partition("  ")[2].strip() for line in lines)


def test_train_takes_a_shipped_name(tmp_path, monkeypatch, capsys):
    """`train indoor/redkitchen` away from the checkout reads the file: its data is what lacks."""
    monkeypatch.chdir(tmp_path)
    words = ["train", "indoor/redkitchen", "--run", "run", "--set", "data.root=none"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("depthkit: error: none") and not (tmp_path / "run").exists()


def test_an_installed_package_carries_the_recipes(tmp_path):
    """A wheel, built and unpacked, finds every recipe beside its modules and reads it alike."""
    source, site = tmp_path / "source", tmp_path / "site"
    copy_sources(source)
    build = [sys.executable, "setup.py", "-q", "build", "--build-lib", str(site)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    code = (
        "from depthkit.recipes import list_recipes; import depthkit; print(depthkit.__file__);"
        "[print(name, path) for name, path in list_recipes().items()]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    module, *rows = done.stdout.splitlines()
    assert Path(module).is_relative_to(site)
    found = {name: Path(path) for name, path in (row.split(" ", 1) for row in rows)}
    assert set(found) == set(recipes.list_recipes())
    for name, path in found.items():
        assert path.is_relative_to(site / "depthkit" / "configs")
        assert path.read_bytes() == recipes.list_recipes()[name].read_bytes()


def copy_sources(folder: Path) -> None:
    """Copy what setup.py needs to put a package with its configurations together."""
    for name in ("setup.py", "package.xml", "depthkit/__init__.py", "depthkit/errors.py"):
        copy(name, folder)
    copy("depthkit/recipes.py", folder)
    copy("ros_nodes/fastdds.xml", folder)
    for path in sorted((CHECKOUT / "configs").rglob("*.*")):
        copy(path.relative_to(CHECKOUT).as_posix(), folder)


def copy(name: str, folder: Path) -> None:
    """Copy one file of the checkout to its place below a folder."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes((CHECKOUT / name).read_bytes())
