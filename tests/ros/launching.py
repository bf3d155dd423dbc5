# SPDX-License-Identifier: Apache-2.0
"""Starts a launch file as `ros2 launch` does, in a process of its own, and ends all it started.

Run as a program: `launching.py FILE [name:=value ...]`.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


class Launched:
    """A launch file at work."""

    def __init__(
        self,
        file: Path,
        arguments: Mapping[str, object],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Launch.

        Args:
            file: a launch file.
            arguments: by name.
            folder: where it runs, and where its output and temporary files go.
            environment: in place of this process' own.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "launch.log"
        words = [f"{name}:={value}" for name, value in arguments.items()]
        variables = {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
        with self._log.open("w") as log:
            self.popen = subprocess.Popen(
                [sys.executable, __file__, str(file), *words],
                cwd=folder,
                env={**(os.environ if environment is None else environment), **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        """Return what launch and its nodes said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def children(self) -> dict[str, int]:
        """Return the process ids of what was started, by name."""
        found = re.findall(r"\[([\w.]+)-\d+\]: process started with pid \[(\d+)\]", self.output())
        return {name: int(pid) for name, pid in found}

    def survivors(self) -> list[str]:
        """List what was started and still runs."""
        return [name for name, pid in self.children().items() if Path(f"/proc/{pid}").exists()]

    def wait(self, timeout: float = 30.0) -> int:
        """Wait until launch ends by itself; return its exit code."""
        return self.popen.wait(timeout)

    def end(self, timeout: float = 15.0) -> int | None:
        """End as Ctrl-C does, then by force; return the exit code, None where force was needed."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGINT)  # a terminal signals the nodes as well
        with suppress(subprocess.TimeoutExpired):
            code = self.popen.wait(timeout)
            if not self._outlived(2.0):
                return code
        for pid in [self.popen.pid, *self.children().values()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait()
        return None

    def _outlived(self, seconds: float) -> bool:
        limit = time.monotonic() + seconds
        while self.survivors() and time.monotonic() < limit:
            time.sleep(0.02)
        return bool(self.survivors())


def main(file: str, *words: str) -> int:
    """Launch a file until it ends or is told to."""
    from launch import LaunchDescription, LaunchService
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    service = LaunchService()
    arguments = [tuple(word.split(":=", 1)) for word in words]
    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(file), launch_arguments=arguments
    )
    service.include_launch_description(LaunchDescription([included]))
    return service.run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
