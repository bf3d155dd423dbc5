# SPDX-License-Identifier: Apache-2.0
"""What a node says of itself on `/diagnostics`, and its counters."""

import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import ClockType
from ros_graph import Graph
from rosgraph_msgs.msg import Clock

from ros_nodes.life.monitor import Monitor, Quantiles, Rate, Status, Throttle

pytestmark = pytest.mark.ros


def test_statuses_carry_level_name_message_and_values(graph: Graph) -> None:
    """Level is a byte, the name says node and task, every value is text."""
    node, probe = graph.node("camera"), graph.probe()
    monitor = Monitor(node, period=0.05)
    values = {"input Hz": 29.98765432, "dropped": 3, "reason": "none"}
    monitor.add("input", lambda now: Status("ok", "all well", values))
    monitor.add("model", lambda now: Status("warn", "slow"))
    monitor.add("output", lambda now: Status("error", "silent"))
    arrays = probe.collect("/diagnostics", DiagnosticArray)
    before = int(time.time())
    monitor.start()
    statuses = probe.wait_for(arrays)[0].status
    assert [one.level for one in statuses] == [b"\x00", b"\x01", b"\x02"]
    assert [one.name for one in statuses] == ["camera: input", "camera: model", "camera: output"]
    assert [one.message for one in statuses] == ["all well", "slow", "silent"]
    assert {one.key: one.value for one in statuses[0].values} == {
        "input Hz": "29.9877",
        "dropped": "3",
        "reason": "none",
    }
    assert before <= arrays[0].header.stamp.sec <= time.time()


def test_nodes_of_two_namespaces_are_told_apart(graph: Graph) -> None:
    """Two drones of one kind do not overwrite each other in a viewer."""
    probe = graph.probe()
    arrays = probe.collect("/diagnostics", DiagnosticArray)
    for namespace in ("left", "right"):
        monitor = Monitor(graph.node("camera", namespace=namespace), period=0.05)
        monitor.add("input", lambda now: Status("ok", ""))
        monitor.start()

    def names() -> set[str]:
        return {status.name for array in arrays for status in array.status}

    graph.spin_until(lambda: len(names()) == 2)
    assert names() == {"left/camera: input", "right/camera: input"}


def test_default_period_is_a_second(graph: Graph) -> None:
    """From one message to the next, by the steady clock: the timer of ROS is set to it."""
    node = graph.node("camera")
    monitor, before = Monitor(node), set(node.timers)
    monitor.start()
    (timer,) = set(node.timers) - before
    assert timer.timer_period_ns == 10**9
    assert timer.clock.clock_type == ClockType.STEADY_TIME


def test_monitor_goes_on_while_simulated_time_stands(graph: Graph) -> None:
    """Under use_sim_time without a clock it still speaks, with the node's own time as stamp."""
    node, probe = graph.node("camera", parameters={"use_sim_time": True}), graph.probe()
    monitor = Monitor(node, period=0.05)
    monitor.add("input", lambda now: Status("ok", ""))
    arrays = probe.collect("/diagnostics", DiagnosticArray)
    monitor.start()
    assert probe.wait_for(arrays, 2)[1].header.stamp.sec == 0
    clock = Clock()
    clock.clock.sec = 1000
    probe.wait_for_reader("/clock", Clock)
    probe.publish("/clock", clock)
    graph.spin_until(lambda: arrays[-1].header.stamp.sec == 1000)


def test_stopped_monitor_is_silent_and_starts_again(graph: Graph) -> None:
    """As a lifecycle node needs it; nothing of ROS is left behind."""
    node, probe = graph.node("camera"), graph.probe()
    before = len(list(node.publishers)), len(list(node.timers))
    monitor = Monitor(node, period=0.05)
    monitor.add("input", lambda now: Status("ok", ""))
    arrays = probe.collect("/diagnostics", DiagnosticArray)
    monitor.start()
    monitor.start()
    probe.wait_for(arrays)
    monitor.stop()
    monitor.stop()
    assert (len(list(node.publishers)), len(list(node.timers))) == before
    graph.spin_for(0.1)
    count = len(arrays)
    graph.spin_for(0.2)
    assert len(arrays) == count
    monitor.start()
    probe.wait_for(arrays, count + 1)


def test_provider_that_raises_is_an_error_status(graph: Graph) -> None:
    """A bug in one task is told and leaves the other tasks and the node alone."""
    node, probe = graph.node("camera"), graph.probe()
    monitor = Monitor(node, period=0.05)
    monitor.add("bad", lambda now: Status("ok", str(1 / 0)))
    monitor.add("good", lambda now: Status("ok", "fine"))
    arrays = probe.collect("/diagnostics", DiagnosticArray)
    monitor.start()
    bad, good = probe.wait_for(arrays)[0].status
    assert bad.level == b"\x02" and bad.message == "no status: ZeroDivisionError: division by zero"
    assert good.message == "fine"


def test_providers_are_told_steady_time(graph: Graph) -> None:
    """The clock that neither jumps nor stands."""
    told: list[float] = []
    monitor = Monitor(graph.node("camera"), period=0.05)
    monitor.add("input", lambda now: told.append(now) or Status("ok", ""))
    monitor.start()
    graph.spin_until(lambda: len(told) >= 2)
    assert told[0] < told[1] <= time.monotonic()


# ---- counters ----------------------------------------------------------------------------------


def test_rate_of_regular_ticks_is_exact() -> None:
    """Ticks every 0.1 s are 10 Hz, just after a tick and just before the next."""
    rate = Rate()
    for tick in range(21):
        rate.tick(tick * 0.1)
    assert rate.hz(2.0) == pytest.approx(10.0)
    assert rate.hz(2.09) == pytest.approx(10.0)


def test_rate_falls_when_ticks_stop() -> None:
    """20 gaps of 0.1 s and a second too late: 20 / 3; after the window nothing is left."""
    rate = Rate(window=5.0)
    for tick in range(21):
        rate.tick(tick * 0.1)
    assert rate.hz(3.1) == pytest.approx(20 / 3.0)
    assert rate.hz(7.1) == 0.0


def test_rate_forgets_what_is_older_than_its_window() -> None:
    """A change from 10 to 2 Hz is the rate alone once 5 s have passed."""
    rate = Rate(window=5.0)
    for tick in range(100):
        rate.tick(tick * 0.1)
    for tick in range(20):
        rate.tick(10.0 + tick * 0.5)
    assert rate.hz(19.5) == pytest.approx(2.0)


@pytest.mark.parametrize("ticks", [[], [1.0], [1.0, 1.0]])
def test_rate_needs_two_moments(ticks: list[float]) -> None:
    """Before that there is none."""
    rate = Rate()
    for tick in ticks:
        rate.tick(tick)
    assert rate.hz(1.0) == 0.0


def test_quantiles_are_nearest_ranks_of_the_last_measurements() -> None:
    """Of 1 to 100: 50, 95, 99 and 100; of the last four added: those."""
    quantiles = Quantiles(size=100)
    assert quantiles.at(50) is None
    for value in range(100, 0, -1):
        quantiles.add(value)
    assert [quantiles.at(percent) for percent in (0, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    short = Quantiles(size=4)
    for value in (1000, 1, 2, 3, 4):
        short.add(value)
    assert short.at(50) == 2 and short.at(100) == 4


def test_throttle_lets_each_key_through_once_in_its_time() -> None:
    """At 0, 1, ... s a key is ready at 0, 10, 20; another key has its own time."""
    now = [0.0]
    throttle = Throttle(10.0, clock=lambda: now[0])
    ready = []
    for second in range(25):
        now[0] = float(second)
        if throttle.ready("a"):
            ready.append(second)
        if second == 3:
            assert throttle.ready("b")
    assert ready == [0, 10, 20]
