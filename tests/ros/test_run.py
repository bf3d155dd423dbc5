# SPDX-License-Identifier: Apache-2.0
"""How a node starts, spins and ends: here and in processes of its own."""

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from ros_graph import Graph, Probe
from ros_processes import Processes
from small_node import Small, SmallConfig
from std_msgs.msg import String

from ros_nodes.life.lifecycle import ManagedNode
from ros_nodes.life.run import PROFILE, room_warning, run_node, use_profile

pytestmark = pytest.mark.ros

NODE = "tests/ros/small_node.py"
VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_node_with_exit_0(processes: Processes, number: int) -> None:
    """All is stopped in order, more of them change nothing, and no traceback is left."""
    node = processes.start(NODE, parameters={"gain": 3})
    node.wait_for_text("started")
    for _ in range(50):  # one that comes while another is heard must not wait for it
        node.signal(number)
        node.signal(signal.SIGINT)
    assert node.wait() == 0
    assert node.stdout().split() == ["built", "started", "stopped", "closed"]
    assert node.stderr() == ""


def test_signals_up_to_the_very_end_change_nothing(processes: Processes) -> None:
    """An impatient Ctrl-C while the interpreter tidies up does not turn exit 0 into a death."""
    node = processes.start(NODE)
    node.wait_for_text("started")
    while node.is_running():
        node.signal(signal.SIGINT)
        time.sleep(0.002)
    assert (node.wait(), node.stderr()) == (0, "")


def test_signal_during_the_build_ends_it_too(processes: Processes) -> None:
    """Ctrl-C while a model loads is no traceback."""
    node = processes.start(NODE)
    node.wait_for_text("built")  # said before `start` and the first spin
    node.signal(signal.SIGINT)
    assert node.wait() == 0
    assert node.stderr() == ""


def test_shutdown_from_inside_ends_a_node(capsys: pytest.CaptureFixture[str]) -> None:
    """`rclpy.shutdown` by whoever holds the context is an end like any other."""

    def build(node: Any) -> Small:
        node.create_timer(0.05, rclpy.try_shutdown)
        return Small(node)

    assert run_node("small", build, []) == 0
    assert capsys.readouterr().out.split() == ["built", "started", "stopped", "closed"]


REFUSED = {
    "build": (["fail:=data"], "small: no data; bring some"),
    "type": (["gain:=text"], "small: parameter gain: expected a number, got 'text'"),
    "range": (["gain:=50"], "small: parameter gain: above 0, at most 10, got 50.0"),
    "choice": (["fail:=dato"], "expected one of no, data, bug, got 'dato'; did you mean 'data'?"),
    "yaml": (["gain:=[1, 2.0]"], "write every number of a list with a point: 1.0"),
    "rule": (["gain"], "Couldn't parse parameter override rule: '-p gain'"),
}


@pytest.mark.parametrize("rules, line", REFUSED.values(), ids=REFUSED)
def test_known_error_is_one_line_and_exit_1(
    capfd: pytest.CaptureFixture[str], rules: list[str], line: str
) -> None:
    """What cannot be built or read says why in one line; the process could go on."""
    words = [word for rule in rules for word in ("-p", rule)]
    assert run_node("small", Small, ["--ros-args", *words]) == 1
    said = capfd.readouterr().err.strip()
    assert line in said and "\n" not in said and ", at /" not in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--help"], "small: unknown argument after --ros-args: --help; those of the node come"),
        (["--log-levl", "info"], "after --ros-args: --log-levl; did you mean --log-level?"),
    ],
)
def test_unknown_ros_argument_is_one_line(
    capfd: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    """Exit 1 and what may have been meant."""
    assert run_node("small", Small, ["--ros-args", *words]) == 1
    said = capfd.readouterr().err.strip()
    assert line in said and "\n" not in said


def test_list_without_items_is_refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """ROS gives `[]` of a file no type; that is one line as well."""
    file = tmp_path / "empty.yaml"
    file.write_text("/**:\n  ros__parameters:\n    gain: []\n")
    assert run_node("small", Small, ["--ros-args", "--params-file", str(file)]) == 1
    assert "a parameter was given without a value" in capfd.readouterr().err


def test_bug_keeps_its_traceback() -> None:
    """An error nobody expected comes out as it is."""
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run_node("small", Small, ["--ros-args", "-p", "fail:=bug"])
    assert run_node("small", Small, ["--ros-args", "-p", "fail:=data"]) == 1


def test_bug_in_a_callback_ends_the_node_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The traceback comes out after everything was stopped; ROS can be started again."""

    def build(node: Any) -> Small:
        node.create_timer(0.05, lambda: 1 / 0)
        return Small(node)

    threads, handler = threading.active_count(), signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        run_node("small", build, [])
    assert capsys.readouterr().out.split() == ["built", "started", "stopped", "closed"]
    assert threading.active_count() == threads and not rclpy.ok()
    assert signal.getsignal(signal.SIGINT) is handler


def test_unknown_argument_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, as with every program."""
    with pytest.raises(SystemExit) as ended:
        run_node("small", Small, ["--lifecycel"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --lifecycel" in capsys.readouterr().err


def test_help_lists_the_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, default, range and meaning, without a node and without ROS."""
    with pytest.raises(SystemExit) as ended:
        run_node("small", Small, ["--help"], schema=SmallConfig)
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "  gain:=1.0  (number, above 0, at most 10; live)\n      Of nothing." in said
    assert "  fail:=no  (no, data, bug)" in said


def test_slip_in_a_parameter_file_is_told(processes: Processes, tmp_path: Path) -> None:
    """A name nobody declares is named with its nearest neighbour; the rest of the file counts."""
    file = tmp_path / "small.yaml"
    file.write_text("/**:\n  ros__parameters:\n    gian: 2\n    gain: 3\n    use_sim_time: true\n")
    node = processes.start(NODE, files=[file])
    node.wait_for_text("started")
    assert node.end() == 0
    assert node.stderr().count("\n") == 1
    assert "parameter 'gian' is not known and was ignored; did you mean 'gain'?" in node.stderr()


def test_slip_is_told_where_it_is_why_the_build_failed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A misspelt `model` leaves the default, which is not there: both lines are needed."""
    rules = ["-p", "fail:=data", "-p", "gian:=2"]
    assert run_node("small", Small, ["--ros-args", *rules]) == 1
    said = capfd.readouterr().err
    assert "'gian' is not known and was ignored; did you mean 'gain'?" in said
    assert "small: no data; bring some" in said
    assert run_node("small", Small, ["--ros-args", "-p", "gain:=text", *rules]) == 1
    assert "is not known" not in capfd.readouterr().err


# ---- the profile -------------------------------------------------------------------------------


def test_profile_is_set_where_the_user_set_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both names, of Fast DDS 2 and 3, say the shipped file; an empty value counts as none."""
    monkeypatch.setenv(VARIABLES[0], "")
    monkeypatch.setenv(VARIABLES[1], "")
    use_profile()
    assert [os.environ[name] for name in VARIABLES] == [str(PROFILE)] * 2
    assert PROFILE.is_file()


@pytest.mark.parametrize("told", [*VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS"])
def test_profile_of_the_user_stays(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    """Whoever configures Fast DDS is not overruled."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(told, "mine")
    use_profile()
    assert os.environ[told] == "mine"
    assert [name for name in VARIABLES if name in os.environ] == [told] * (told in VARIABLES)


def test_little_shared_memory_is_told() -> None:
    """Docker's 64 MiB hold one node of 34; with less a line says what to do."""
    assert room_warning(64 << 20) == ""
    assert room_warning(30 << 20).startswith("/dev/shm has 30 MiB left, a node needs 34: ")
    assert "--shm-size" in room_warning(0)


# ---- lifecycle ---------------------------------------------------------------------------------


def change(probe: Probe, transition: int) -> bool:
    """Ask for a transition as `ros2 lifecycle set` does."""
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(probe.call("/small/change_state", ChangeState, request).success)


def state_of(probe: Probe) -> str:
    """Ask for the state as `ros2 lifecycle get` does."""
    return str(probe.call("/small/get_state", GetState).current_state.label)


def managed(graph: Graph, **parameters: Any) -> Any:
    """Make the small node managed."""
    return graph.node("small", parameters=parameters, kind=partial(ManagedNode, build=Small))


def test_managed_node_goes_through_its_states_twice(
    graph: Graph, capsys: pytest.CaptureFixture[str]
) -> None:
    """Configure builds, activate starts, deactivate stops, cleanup closes; and all over again."""
    node, probe = managed(graph, gain=3), graph.probe()
    echoed = probe.collect("echo", String)
    threads, publishers = threading.active_count(), len(list(node.publishers))
    for life in range(2):
        assert change(probe, Transition.TRANSITION_CONFIGURE) and state_of(probe) == "inactive"
        assert change(probe, Transition.TRANSITION_ACTIVATE) and state_of(probe) == "active"
        probe.wait_for_reader("words", String)
        probe.publish("words", String(data="hello"))
        probe.wait_for(echoed, life + 1)
        assert change(probe, Transition.TRANSITION_DEACTIVATE) and state_of(probe) == "inactive"
        assert change(probe, Transition.TRANSITION_CLEANUP) and state_of(probe) == "unconfigured"
        assert node.get_parameter("gain").value == 3.0
    assert capsys.readouterr().out.split() == ["built", "started", "stopped", "closed"] * 2
    assert threading.active_count() == threads
    assert len(list(node.publishers)) == publishers


def test_managed_node_that_cannot_be_built_says_why(
    graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line and a FAILURE; the node stays unconfigured and answers."""
    managed(graph, fail="data")
    probe = graph.probe()
    assert not change(probe, Transition.TRANSITION_CONFIGURE)
    assert state_of(probe) == "unconfigured"
    said = capfd.readouterr().err
    assert "no data; bring some" in said and "second line" not in said


def test_managed_node_says_the_traceback_of_a_bug(
    graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    """rclpy swallows exceptions of transitions; here they are logged."""
    managed(graph, fail="bug")
    probe = graph.probe()
    assert not change(probe, Transition.TRANSITION_CONFIGURE)
    assert state_of(probe) == "unconfigured"
    assert "ZeroDivisionError: a bug" in capfd.readouterr().err


def test_shutdown_of_an_active_managed_node_closes_it(
    graph: Graph, capsys: pytest.CaptureFixture[str]
) -> None:
    """From active straight to the end, in order."""
    managed(graph)
    probe = graph.probe()
    assert change(probe, Transition.TRANSITION_CONFIGURE)
    assert change(probe, Transition.TRANSITION_ACTIVATE)
    assert change(probe, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert capsys.readouterr().out.split() == ["built", "started", "stopped", "closed"]


def test_impossible_transition_does_not_end_the_process(graph: Graph, processes: Processes) -> None:
    """rclpy leaves that request without an answer (its #1209); the node says so and goes on."""
    node = processes.start(NODE, arguments=["--lifecycle"])
    probe = graph.probe()
    assert state_of(probe) == "unconfigured"
    assert "waits for configure and activate: ros2 lifecycle set /small configure" in node.stderr()
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    client = probe.node.create_client(ChangeState, "/small/change_state")
    client.call_async(request)
    graph.spin_until(lambda: "transition refused" in node.stderr())
    assert change(probe, Transition.TRANSITION_CONFIGURE)
    assert change(probe, Transition.TRANSITION_ACTIVATE)
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    assert node.stdout().split() == ["built", "started", "stopped", "closed"]
    assert "Traceback" not in node.stderr()
