# SPDX-License-Identifier: Apache-2.0
"""What a node says of frames it has no answer to: to its figures always, to the log at times."""

import traceback
from collections.abc import Callable

from rclpy.node import Node

from ros_nodes.monitor import Level, Throttle

SAID_EVERY = 10.0  # seconds between two log lines of one kind


class Complaints:
    """Reasons why there is no answer; the worker of a node complains, and goes on."""

    def __init__(self, node: Node, what: str, note: Callable[[str, Level], None]) -> None:
        """Set up.

        Args:
            node: whose log it is.
            what: there is none of: "depth".
            note: told each reason, and how bad it is.
        """
        self._log, self._what, self._note = node.get_logger(), what, note
        self._throttle = Throttle(SAID_EVERY)

    def refuse(self, reason: str) -> None:
        """Say why a frame has no answer."""
        self._note(reason, "warn")
        self.warn("refused", f"no {self._what}: {reason}")

    def warn(self, kind: str, text: str) -> None:
        """Write a line, unless one of its kind was written a moment ago."""
        if self._throttle.ready(kind):
            self._log.warning(text)

    def bug(self, error: Exception) -> None:
        """Say that it is ours; where it happened is for the log at debug level."""
        line = " ".join(f"a bug, please report it: {type(error).__name__}: {error}".split())
        self._note(line, "error")
        if self._throttle.ready("bug"):
            self._log.error(f"no {self._what}: {line}")
            self._log.debug("".join(traceback.format_exception(error)))
