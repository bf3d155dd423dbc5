# SPDX-License-Identifier: Apache-2.0
"""What of the diagnostics reaches the log, and when; with a clock of the test's own."""

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import Graph

from ros_nodes.life.monitor import Monitor, Status
from ros_nodes.life.notices import Notices

pytestmark = pytest.mark.ros


class Log:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        """Keep it."""
        self.lines.append(f"info {text}")

    def warning(self, text: str) -> None:
        """Keep it."""
        self.lines.append(f"warn {text}")

    def error(self, text: str) -> None:
        """Keep it."""
        self.lines.append(f"error {text}")


class Bench:
    """Notices that look once a second."""

    def __init__(self) -> None:
        self.now, self.log = 100.0, Log()
        self.notices = Notices(self.log, clock=lambda: self.now)

    def look(self, level: str, message: str, seconds: int = 1, *, begins: bool = False) -> list:
        """Say the same for some seconds; return what was written meanwhile."""
        before = len(self.log.lines)
        for _ in range(seconds):
            self.notices.look("output", level, message, begins=begins)
            self.now += 1.0
        return self.log.lines[before:]


def test_a_trouble_is_written_once_and_again_after_half_a_minute() -> None:
    """61 looks, one a second, of one that lasts: at 3 s, when all has come up, 33 s and 63 s."""
    bench = Bench()
    assert bench.look("error", "no image", 30) == ["error output: no image"]
    assert bench.look("error", "no image", 34) == ["error output: no image"] * 2


def test_the_opening_is_quiet() -> None:
    """What ends within three seconds of the start is not written, and its end is not either."""
    bench = Bench()
    assert bench.look("warn", "no past frame yet", 3) == []
    assert bench.look("ok", "all well") == []


def test_what_does_not_last_is_not_written() -> None:
    """One look is none: a first frame without a past, after a bag that loops."""
    bench = Bench()
    bench.look("ok", "metric depth", 10)
    assert bench.look("warn", "no past frame yet") == []
    assert bench.look("ok", "metric depth") == []


def test_numbers_make_no_news_but_words_do() -> None:
    """An age that grows is one message; another reason is another, as is another level."""
    bench = Bench()
    bench.now += 10
    said = [line for age in range(5) for line in bench.look("warn", f"no image for {age}.5 s")]
    assert said == ["warn output: no image for 1.5 s"]
    assert bench.look("warn", "too dark", 3) == ["warn output: too dark"]
    assert bench.look("error", "too dark", 3) == ["error output: too dark"]


def test_the_end_of_a_trouble_is_written() -> None:
    """Once, and only where the trouble was written."""
    bench = Bench()
    bench.look("error", "no image", 6)
    assert bench.look("ok", "images come in", 40) == ["info output: images come in"]


def test_what_begins_is_written_at_once() -> None:
    """Depth that begins, and that comes back after a loss; not every second."""
    bench = Bench()
    told = bench.look("ok", "metric depth of 5 m", 20, begins=True)
    assert told == ["info output: metric depth of 5 m"]
    assert bench.look("warn", "no frame", 5, begins=True) == ["warn output: no frame"]
    assert bench.look("ok", "metric depth of 6 m", 5, begins=True) == [
        "info output: metric depth of 6 m"
    ]


def test_a_flood_is_thinned() -> None:
    """A trouble that comes and goes every few seconds is written twice a minute."""
    bench = Bench()
    bench.now += 10
    said = [line for _ in range(6) for line in bench.look("warn", "lost", 5) + bench.look("ok", "")]
    assert said == ["warn output: lost", "info output: "] * 2


def test_say_writes_now_and_look_does_not_repeat_it() -> None:
    """A bug, or a model that is missing at the start."""
    bench = Bench()
    assert [bench.notices.say("output", "error", "a bug") for _ in "12"] == [True, False]
    assert bench.look("error", "a bug", 20) == []
    assert bench.look("ok", "all well") == ["info output: all well"]


def test_log_and_diagnostics_say_the_same(
    graph: Graph, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three levels of a real monitor, word for word."""
    monkeypatch.setattr("ros_nodes.life.notices.OPENING", 0.0)
    monkeypatch.setattr("ros_nodes.life.notices.STANDS", 0.0)
    monitor, probe = Monitor(graph.node("eye"), period=0.05), graph.probe()
    told = {"input": "no image", "model": "slow", "output": "all well"}
    monitor.add("input", lambda _: Status("error", told["input"]))
    monitor.add("model", lambda _: Status("warn", told["model"]))
    monitor.add("output", lambda _: Status("ok", told["output"]), begins=True)
    said = probe.collect("/diagnostics", DiagnosticArray)
    monitor.start()
    probe.wait_for(said, 5)
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition("[eye]: ")[2] for line in lines] == [
        f"{task}: {words}" for task, words in told.items()
    ]
    assert [line[1:6].strip("]") for line in lines] == ["ERROR", "WARN", "INFO"]


def test_the_node_says_in_its_log_what_is_wrong(rigs, capfd, monkeypatch) -> None:
    """No image on the topic, and a network that is fed no direction: as in the diagnostics."""
    monkeypatch.setattr("ros_nodes.life.notices.OPENING", 0.0)
    monkeypatch.setattr("ros_nodes.life.notices.STANDS", 0.0)
    rig = rigs("depth", model="sweepnet-stillbox", motion={"source": "speed", "speed": 1.0})
    rig.component.monitor.publish()
    written = capfd.readouterr().err
    for task, level in (("input", "ERROR"), ("model", "ERROR"), ("output", "WARN")):
        message = rig.status(task).message
        (line,) = [line for line in written.splitlines() if f"[depth_node]: {task}: " in line]
        assert line.startswith(f"[{level}]") and line.endswith(f": {message}")
