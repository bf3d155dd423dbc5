# SPDX-License-Identifier: Apache-2.0
"""The advice to install an extra: true for a checkout, for what pip installed, and for a copy."""

import importlib.metadata
import json
import re
import shlex
from pathlib import Path

import pytest

from depthkit import installation
from depthkit.installation import UNKNOWN_ORIGIN, install_line

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Pretend that this module lies in site-packages, and that pip recorded this origin."""
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "site" / "depthkit" / "x.py"))

    class Record:
        text: str | None = None

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return self.text

    record = Record()
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: record)

    def came_from(**about: object) -> None:
        record.text = json.dumps(about)

    return came_from


def test_a_checkout_is_named_by_its_folder():
    """`pip install -e` with the folder that holds setup.py: right from any directory."""
    assert install_line("synth") == f"pip install -e '{CHECKOUT}[synth]'"
    assert install_line("export", "train") == f"pip install -e '{CHECKOUT}[export,train]'"
    assert install_line() == f"pip install -e '{CHECKOUT}'"


def test_pip_recorded_a_folder_or_wheel(installed, tmp_path):
    """`pip install .` or a wheel: the same place again, blanks and all."""
    wheel = tmp_path / "my wheels" / "depthkit-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    installed(url=wheel.as_uri(), archive_info={})
    assert shlex.split(install_line("bag")) == ["pip", "install", f"{wheel}[bag]"]


def test_pip_recorded_a_repository(installed):
    """From a repository: its address with the extras before it, as pip reads requirements."""
    installed(url="https://x.example/depthkit.git", vcs_info={"vcs": "git", "commit_id": "1"})
    wanted = "depthkit[ros] @ git+https://x.example/depthkit.git"
    assert shlex.split(install_line("ros"))[2] == wanted


def test_an_origin_that_is_gone_or_unknown_is_described(installed, tmp_path, monkeypatch):
    """No place that pip could read: the reader is told what to put there, never a bare name."""
    unknown = f"pip install '{UNKNOWN_ORIGIN}[synth]'"
    assert install_line("synth") == unknown
    installed(url=(tmp_path / "deleted").as_uri(), dir_info={})
    assert install_line("synth") == unknown

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    assert install_line("synth") == unknown


def test_no_message_sends_to_an_index():
    """No file of the product spells the advice itself: depthkit is on no package index."""
    pattern = re.compile(r"pip install '?depthkit")
    files = [*CHECKOUT.glob("depthkit/**/*.py"), *CHECKOUT.glob("ros_nodes/**/*.py")]
    own = CHECKOUT / "depthkit" / "installation.py"  # its docstring says why
    assert not [path for path in files if path != own and pattern.search(path.read_text())]
