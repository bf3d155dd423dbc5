# SPDX-License-Identifier: Apache-2.0
"""The dispatcher: help, exit codes, and which errors are one line."""

import argparse
import errno
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from depthkit import __version__, cli
from depthkit.errors import CheckpointError, DataError, DepthkitError, UsageError
from depthkit.installation import install_line
from depthkit.pipelines.doctor.packages import PACKAGES

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Add a verb `try` that does what the test says."""

    def add(action: Callable[[], None]) -> None:
        module = types.ModuleType("depthkit.cli.try")
        module.add_arguments = lambda parser: parser.add_argument("--size", type=int)
        module.run = lambda args: action()
        monkeypatch.setitem(sys.modules, "depthkit.cli.try", module)
        monkeypatch.setitem(cli.VERBS, "try", "a verb of the tests")

    return add


def raiser(error: BaseException) -> Callable[[], None]:
    """Return a function that raises."""

    def act() -> None:
        raise error

    return act


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """`depthkit --help` shows each verb with its line and ends with 0."""
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, line in cli.VERBS.items():
        assert f"  {name}" in shown
        assert line in shown


def test_version_is_that_of_the_package_and_the_manifest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One version everywhere: program, package and package.xml."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"depthkit {__version__}\n"
    assert f"<version>{__version__}</version>" in (CHECKOUT / "package.xml").read_text()


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_has_a_help_page(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb of the list exists as a module with arguments."""
    assert cli.main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: depthkit {name}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: VERB"),
        (["trian"], "unknown verb 'trian'; did you mean 'train'?"),
        (["xyz"], "unknown verb 'xyz'; choose from demo, synth"),
        (["doctor", "--jsno"], "unrecognized arguments: --jsno"),
        (["doctor", "more"], "unrecognized arguments: more"),
    ],
)
def test_wrong_usage_is_exit_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the command line cannot mean is said on stderr and is 2."""
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_wrong_argument_of_a_verb_is_exit_2(
    verb: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A verb's own parser decides about its arguments."""
    verb(lambda: None)
    assert cli.main(["try", "--size", "x"]) == 2
    assert "depthkit try: error: argument --size" in capsys.readouterr().err
    assert cli.main(["try", "--size", "3"]) == 0


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("clip: no frames"), 1, "depthkit: error: clip: no frames\n"),
        (CheckpointError("a is cut short"), 1, "depthkit: error: a is cut short\n"),
        (UsageError("no DIR"), 2, "depthkit: error: no DIR (see 'depthkit try --help')\n"),
        (KeyboardInterrupt(), 130, "depthkit: interrupted\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            1,
            "depthkit: error: /x/y: no space left on device\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            1,
            "depthkit: error: permission denied\n",
        ),
        (
            ModuleNotFoundError("no", name="torch.nn"),
            1,
            f"depthkit: error: torch is not installed; run: {install_line('train')}\n",
        ),
        (
            ModuleNotFoundError("no", name="rerun"),
            1,
            f"depthkit: error: rerun-sdk is not installed; run: {install_line('rerun')}\n",
        ),
        (
            ModuleNotFoundError("no", name="cv2"),
            1,
            f"depthkit: error: opencv-python-headless is not installed; run: {install_line()}\n",
        ),
    ],
)
def test_known_error_is_one_line(
    verb: Callable[[Callable[[], None]], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    line: str,
) -> None:
    """A cause the user can mend is one line on stderr and its exit code."""
    verb(raiser(error))
    assert cli.main(["try"]) == code
    captured = capsys.readouterr()
    assert captured.err == line
    assert captured.out == ""


@pytest.mark.parametrize(
    "bug",
    [
        ValueError("a bug"),
        ModuleNotFoundError("no", name="depthkit.models.gone"),
        FileNotFoundError(errno.ENOENT, "gone", "/x"),
        BrokenPipeError(errno.EPIPE, "a worker's pipe, not stdout"),
    ],
)
def test_bug_keeps_its_traceback(
    verb: Callable[[Callable[[], None]], None], bug: Exception
) -> None:
    """What no user caused is not dressed up as one line."""
    verb(raiser(bug))
    with pytest.raises(type(bug)) as caught:
        cli.main(["try"])
    assert caught.value is bug


def test_every_child_of_the_error_family_is_caught() -> None:
    """A new error class is a line on the command line as long as it is of the family."""
    assert issubclass(CheckpointError, DepthkitError)
    assert issubclass(DataError, DepthkitError)


def test_reader_that_leaves_is_no_error() -> None:
    """`depthkit --help | head -0` writes nothing on stderr."""
    code = (
        "import sys; from depthkit import cli; import types;"
        "module = types.ModuleType('depthkit.cli.try'); module.add_arguments = lambda p: None;"
        "module.run = lambda a: [print('x' * 1000) for _ in range(1000)];"
        "sys.modules['depthkit.cli.try'] = module; cli.VERBS['try'] = '';"
        "sys.exit(cli.main(['try']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None and program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode == 141


def test_module_runs_as_the_program() -> None:
    """`python -m depthkit` passes the exit code on."""
    done = subprocess.run([sys.executable, "-m", "depthkit", "nope"], capture_output=True)
    assert done.returncode == 2
    assert b"unknown verb 'nope'" in done.stderr


def test_extras_of_the_program_are_those_of_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that names an extra is true: setup.py brings the package with it."""
    extras = read_setup(monkeypatch)
    for package in PACKAGES:
        wanted = extras["core" if package.extra is None else package.extra]
        assert package.distribution.lower() in wanted, package
    listed = {package.distribution.lower() for package in PACKAGES}
    assert set().union(*(extras[name] for name in ("core", "all"))) <= listed


def test_core_is_free_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The robot installs the core, which must not bring torch."""
    assert read_setup(monkeypatch)["core"] == {
        "numba",
        "numpy",
        "opencv-python-headless",
        "pyyaml",
        "rich",
    }


def test_ros_wheels_are_of_one_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without "jazzy" in their names pip takes newer ones, which do not fit the others."""
    extras = read_setup(monkeypatch)
    wheels = {name for name in extras["ros"] if name.startswith("ros-")}
    assert wheels and all(name.startswith("ros-jazzy-") for name in wheels)
    assert "rosbags" in extras["ros"] & extras["dev"] & extras["bag"]
    assert not wheels & (extras["core"] | extras["all"] | extras["dev"])


def read_setup(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Run setup.py with a stand-in and return the package names of the core and each extra."""
    said: dict[str, object] = {}
    stand_in = types.ModuleType("setuptools")
    stand_in.setup = lambda **words: said.update(words)
    stand_in.find_packages = lambda **words: []
    monkeypatch.setitem(sys.modules, "setuptools", stand_in)
    file = CHECKOUT / "setup.py"
    exec(compile(file.read_text(), str(file), "exec"), {"__file__": str(file)})
    groups = {"core": said["install_requires"], **said["extras_require"]}
    return {name: {word.split(">")[0].lower() for word in group} for name, group in groups.items()}


def test_parser_of_a_verb_is_built_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking one verb for help builds no other verb's parser."""
    built = []
    real = argparse.ArgumentParser.__init__

    def count(self: argparse.ArgumentParser, *args: object, **words: object) -> None:
        built.append(words.get("prog"))
        real(self, *args, **words)

    monkeypatch.setattr(argparse.ArgumentParser, "__init__", count)
    assert cli.main(["doctor", "--help"]) == 0
    assert built == ["depthkit", "depthkit doctor"]
