# SPDX-License-Identifier: Apache-2.0
"""`depthkit doctor`: what it says of a whole, a small and a broken installation."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from depthkit import __version__, cli
from depthkit.cli.doctor import abilities_text
from depthkit.installation import install_line
from depthkit.pipelines.doctor import look as doctor
from depthkit.pipelines.doctor.judge import Ability, State, judge
from depthkit.pipelines.doctor.packages import PACKAGES, Package
from depthkit.pipelines.doctor.ros import judge_nodes, look_at_ros

CHECKOUT = Path(__file__).resolve().parent.parent


def states(**changed: str) -> dict[str, State]:
    """All packages present, but for those named."""
    names = [package.module for package in PACKAGES]
    return {name: State(changed.get(name, "present"), "1.0") for name in names}


def test_json_is_one_object_with_true_versions(capsys: pytest.CaptureFixture[str]) -> None:
    """Machines get one object; the versions are those that import here."""
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["depthkit"] == __version__
    assert report["packages"]["numpy"] == {
        "state": "present",
        "detail": version("numpy"),
        "extra": None,
    }
    assert report["can"]["prepare"] == {"able": True, "reason": ""}
    assert set(report["parts"]) >= {"GPU", "ONNX Runtime", "OpenVINO", "ROS 2 (rclpy)"}


def test_text_ends_with_what_can_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    """People get a table whose last line is the verdict."""
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"depthkit {__version__}"
    assert lines[-1].startswith("can do: synth, prepare, inspect")


def test_judge_needs_only_the_core_for_preparing_and_scoring() -> None:
    """Without torch one can prepare, inspect and score; training names what it lacks."""
    can = judge(states(torch="missing", torchvision="broken"))
    assert can["prepare"].able and can["inspect"].able and can["evaluate"].able
    assert not can["train"].able
    assert can["train"].reason == (
        f"torch is missing, torchvision is broken; run: {install_line('train')}"
    )
    assert "torch is missing" in can["export"].reason
    assert all(can[verb].able for verb in ("infer", "verify", "bench", "demo"))


def test_judge_names_what_runs_models() -> None:
    """Without a runtime nothing infers, and scores of models are out; OpenVINO can stand in."""
    can = judge(states(onnxruntime="missing", openvino="missing"))
    for verb in ("infer", "verify", "bench", "demo"):
        assert not can[verb].able and install_line("runtime") in can[verb].reason
    assert can["train"].able and can["prepare"].able and can["infer sweep"].able
    assert can["evaluate"].able and "without models: onnxruntime" in can["evaluate"].reason
    assert install_line("runtime") in can["export"].reason
    alone = judge(states(onnxruntime="missing"))["infer"]
    assert alone.able and alone.reason.startswith("with --backend openvino alone")


def test_judge_names_all_extras_at_once() -> None:
    """What export lacks comes with one command."""
    reason = judge(states(torch="missing", onnx="missing", matplotlib="missing"))["export"].reason
    assert reason.endswith(f"run: {install_line('export', 'train')}")


def test_backends_are_listed_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each value of --backend: its version, or the line that says how to get it."""
    assert cli.main(["doctor", "--json"]) == 0
    backends = json.loads(capsys.readouterr().out)["backends"]
    assert set(backends) == {"onnxruntime", "cuda", "tensorrt", "openvino"}
    assert backends["onnxruntime"] == {
        "state": "present",
        "detail": version("onnxruntime"),
        "extra": None,
    }
    monkeypatch.setitem(sys.modules, "openvino", None)
    state = doctor.look_at_backends()["openvino"]
    assert state.state == "missing" and install_line("openvino") in state.detail
    assert cli.main(["doctor"]) == 0
    assert install_line("openvino") in capsys.readouterr().out


def test_judge_names_the_limit_of_evaluation_without_plots() -> None:
    """Scores and odometry need no matplotlib, plots do."""
    can = judge(states(matplotlib="missing"))
    assert can["evaluate"].able and can["odometry"].able
    assert "matplotlib" in can["evaluate"].reason
    assert "matplotlib" in can["odometry"].reason
    assert not can["train"].able


def test_judge_refuses_everything_without_the_core() -> None:
    """A broken core stops every verb."""
    assert not any(ability.able for ability in judge(states(cv2="broken")).values())


def test_text_groups_verbs_that_share_an_answer() -> None:
    """The verdict says each reason once."""
    can = judge(states(torch="missing"))
    text = abilities_text({verb: vars(ability) for verb, ability in can.items()})
    assert text.startswith(
        "synth, prepare, inspect, odometry, evaluate, verify, infer, infer sweep, bench, "
        "demo: yes; "
        "train, export: no ("
    )


def test_missing_and_broken_packages_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """Not installed is missing; installed and failing at import is broken, with the reason."""
    assert (
        doctor.look_at_package(Package("absent_module", "absent-dist", "train")).state == "missing"
    )
    monkeypatch.setattr(doctor.importlib, "import_module", fail_to_import)
    state = doctor.look_at_package(Package("numpy", "numpy", None))
    assert (state.state, state.detail) == ("broken", "ImportError: libgone.so: cannot open")


def fail_to_import(name: str) -> None:
    """Fail as a binary package without its library does."""
    raise ImportError("libgone.so: cannot open\nmore words")


def test_broken_core_is_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a core that does not work makes the doctor fail."""
    core = Package("absent_module", "absent-dist", None)
    monkeypatch.setattr(doctor, "PACKAGES", (*PACKAGES, core))
    assert cli.main(["doctor"]) == 1
    assert "the core does not work without absent-dist" in capsys.readouterr().err


def test_part_that_fails_does_not_stop_the_report() -> None:
    """A runtime that breaks while answering is a line of the report."""
    assert doctor.guarded(lambda: "") == State("missing", "")
    assert doctor.guarded(lambda: "2.0") == State("present", "2.0")
    assert doctor.guarded(lambda: str(1 / 0)).state == "broken"


# ---- ROS 2 -------------------------------------------------------------------------------------

PARTS_OF_ROS = {
    "ROS 2 (rclpy)",
    "ROS messages",
    "tf2_msgs",
    "launch_ros",
    "depthkit's nodes",
    "Fast DDS profile",
    "shared memory",
}


@pytest.mark.ros
def test_ros_parts_are_named_with_version_and_middleware() -> None:
    """Which rclpy, which rmw, which messages: what a report of a fault needs."""
    ros = look_at_ros()
    assert set(ros) == PARTS_OF_ROS
    assert "rmw_" in ros["ROS 2 (rclpy)"].detail and "ROS_DISTRO" in ros["ROS 2 (rclpy)"].detail
    assert ros["ROS messages"].state == "present"
    assert judge_nodes(ros, Ability(True, "")) == Ability(True, "")
    assert judge_nodes(ros, Ability(False, "no runtime")) == Ability(False, "no runtime")


def test_missing_ros_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rclpy no node runs, and the reason names both ways to get it."""
    blocked = ["rclpy", "tf2_msgs", "launch_ros"]
    blocked += ["builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs"]
    blocked += ["nav_msgs", "rosgraph_msgs", "sensor_msgs", "std_msgs", "std_srvs"]
    for name in [one for one in sys.modules if one.partition(".")[0] in blocked]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(blocked), *sys.meta_path])
    ros = look_at_ros()
    assert ros["ROS 2 (rclpy)"].state == ros["ROS messages"].state == "missing"
    nodes = judge_nodes(ros, Ability(True, ""))
    assert not nodes.able
    assert "setup.bash" in nodes.reason and install_line("ros") in nodes.reason


class Absent:
    """A finder that knows of packages that they are not there."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse as Python does."""
        if name.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])


def test_fast_dds_profile_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file, a file that is gone, and none: then the line to export."""
    file = tmp_path / "mine.xml"
    file.write_text("<profiles/>")
    variable = "FASTRTPS_DEFAULT_PROFILES_FILE"
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    monkeypatch.setenv(variable, str(file))
    assert look_at_ros()["Fast DDS profile"] == State("present", f"{variable}={file}")
    monkeypatch.setenv(variable, str(tmp_path / "gone.xml"))
    assert look_at_ros()["Fast DDS profile"].state == "broken"
    monkeypatch.delenv(variable)
    state = look_at_ros()["Fast DDS profile"]
    assert state.state == "missing"
    assert state.detail.endswith(f"{variable}={CHECKOUT / 'ros_nodes' / 'fastdds.xml'}")
