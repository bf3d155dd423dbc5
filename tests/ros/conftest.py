# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of its own for every test process: own domain, this machine only, own logs."""

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from ros_processes import KILLED, Processes


class _WithoutRos(pytest.Module):
    """A file of tests that cannot even be imported here."""

    def collect(self) -> list[pytest.Item]:
        """Say why nothing runs."""
        pytest.skip("needs rclpy, which is not installed; pip install -e '.[ros]'")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> object:
    """Skip with a reason where there is no ROS."""
    if find_spec("rclpy") is None:
        return _WithoutRos.from_parent(parent, path=module_path)
    return None


def _claim_domain() -> tuple[int, socket.socket]:
    """Take a domain nobody else on this machine tests in; the kernel frees it at any exit."""
    first = 30 + os.getpid() % 71
    for number in [*range(first, 101), *range(30, first)]:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0depthkit-test-domain-{number}")
        except OSError:
            claim.close()
            continue
        return number, claim
    raise RuntimeError("all ROS domains from 30 to 100 are taken by other tests")


# Read by ROS when it is first used, and by every process a test starts.
DOMAIN, _CLAIM = _claim_domain()
_LOGS = tempfile.mkdtemp(prefix="depthkit-ros-log-")
atexit.register(shutil.rmtree, _LOGS, ignore_errors=True)  # also where no test ran, as in a listing
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_LOG_DIR"] = _LOGS
_UNSET = (
    *("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "RMW_IMPLEMENTATION", "FASTDDS_BUILTIN_TRANSPORTS"),
    *("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"),
)
for variable in _UNSET:
    os.environ.pop(variable, None)


@pytest.fixture(scope="session", autouse=True)
def _clean_up() -> Iterator[None]:
    """Leave no shared memory behind."""
    yield
    # Fast DDS forgets the port of a process now and then; those of this domain are nobody else's.
    for file in Path("/dev/shm").glob("*fastrtps_port*"):
        number = int("0" + "".join(filter(str.isdigit, file.name)))
        if 0 <= number - (7400 + 250 * DOMAIN) < 250:
            file.unlink(missing_ok=True)
    # The program looks at the files of all domains: it is asked only where a test killed a process.
    program = Path(sys.executable).with_name("fastdds")
    if KILLED and program.is_file():
        subprocess.run([program, "shm", "clean"], capture_output=True, timeout=60, check=False)


@pytest.fixture
def graph(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Nodes inside the test's own process; other processes see them where `processes` is asked."""
    from ros_graph import Graph

    if "processes" not in request.fixturenames:
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    made = Graph(DOMAIN)
    yield made
    made.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Nodes in processes of their own, ended when the test is."""
    made = Processes(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def made_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that say brightness: pair.onnx (D0 = 0.3 m), mono.onnx (relative), metric.onnx."""
    from runtime.onnx_makers import write_mono, write_pair

    folder = tmp_path_factory.mktemp("models")
    write_pair(folder / "pair.onnx")
    write_mono(folder / "mono.onnx")
    write_mono(folder / "metric.onnx", scale="metric", scale_source="made")
    return folder


@pytest.fixture
def rigs(graph: object) -> Iterator[object]:
    """Make depth nodes with a camera before them (`depth_rig.Rig`); they end with the test."""
    from depth_rig import Rig

    made: list[Rig] = []

    def make(*topics: str, **parameters: object) -> Rig:
        made.append(Rig(graph, *([topics] if topics else []), **parameters))
        return made[-1]

    yield make
    for rig in made:
        rig.close()
