# SPDX-License-Identifier: Apache-2.0
"""Node processes of tests: started as launch starts them, none outlives its test."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
PROFILE = CHECKOUT / "ros_nodes" / "fastdds.xml"
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
NO_PROFILE = dict.fromkeys(PROFILE_VARIABLES, "")
"""Environment of a process that is told no profile: our nodes then take the shipped one."""
SHIPPED_SEGMENT, SMALL_SEGMENT = 32 << 20, 4 << 20
"""Bytes. A container's /dev/shm holds one node with the shipped profile and twelve of the tests."""
KILLED: list[int] = []
"""Processes that could not clean up behind themselves."""


class Processes:
    """Node processes of a test; none outlives it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Process] = []
        profile = PROFILE.read_text(encoding="utf-8")
        small = folder / PROFILE.name
        small.write_text(profile.replace(str(SHIPPED_SEGMENT), str(SMALL_SEGMENT)))
        self._profile = dict.fromkeys(PROFILE_VARIABLES, str(small))

    def start(
        self,
        module: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        remap: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        files: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "Process":
        """Start `python -m module`, or a `.py` file, as launch does.

        Args:
            module: module name, or path of a file that ends in .py.
            parameters: mappings nest.
            remap: topics, and `__node`, `__ns`.
            arguments: before --ros-args.
            files: of parameters.
            environment: added to this process' own and to a profile of little shared memory; an
                empty value takes a variable away.
        """
        program = [module] if module.endswith(".py") else ["-m", module]
        command = [sys.executable, *program, *map(str, arguments), *ros_args(parameters, remap)]
        command += [word for file in files for word in ("--params-file", str(file))]
        output = self._folder / f"process-{len(self._started)}"
        told = {**os.environ, **self._profile, **(environment or {})}
        process = Process(command, output, {name: value for name, value in told.items() if value})
        self._started.append(process)
        return process

    def close(self) -> None:
        """End all."""
        for process in self._started:
            process.signal(signal.SIGINT)
        for process in self._started:
            if process.end() == -signal.SIGKILL:
                KILLED.append(process.popen.pid)


class Process:
    """One process and what it said."""

    def __init__(self, command: list[str], output: Path, environment: dict[str, str]) -> None:
        self._output = output
        environment["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), str(Path(__file__).parent)])
        environment["PYTHONUNBUFFERED"] = "1"
        with self._file("out").open("w") as out, self._file("err").open("w") as err:
            self.popen = subprocess.Popen(
                command, stdout=out, stderr=err, cwd=CHECKOUT, env=environment
            )

    def _file(self, stream: str) -> Path:
        return self._output.with_suffix(f".{stream}")

    def stdout(self) -> str:
        """Return what it printed so far."""
        return self._file("out").read_text(encoding="utf-8", errors="replace")

    def stderr(self) -> str:
        """Return what it logged so far."""
        return self._file("err").read_text(encoding="utf-8", errors="replace")

    def is_running(self) -> bool:
        """Tell whether it has not ended."""
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.is_running():
            self.popen.send_signal(number)

    def wait(self, timeout: float = 20.0) -> int:
        """Wait for its end and return the exit code."""
        return self.popen.wait(timeout)

    def wait_for_text(self, words: str, timeout: float = 20.0) -> str:
        """Wait until it said something on either stream; return all it said.

        Raises:
            TimeoutError: it did not, or ended before.
        """
        end = time.monotonic() + timeout
        while words not in (said := self.stdout() + self.stderr()):
            if time.monotonic() > end or not self.is_running():
                raise TimeoutError(f"{words!r} was not said within {timeout:g} s, but: {said}")
            time.sleep(0.05)
        return said

    def end(self) -> int:
        """Ask politely, then firmly; return the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            try:
                return self.wait(5.0)
            except subprocess.TimeoutExpired:
                continue
        return self.wait()


# ---- arguments -----------------------------------------------------------------------------------


def flat(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write nested parameters with dots, paths as text."""
    values: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[prefix + name] = str(value) if isinstance(value, Path) else value
    return values


def ros_args(parameters: Mapping[str, Any] | None, remap: Mapping[str, str] | None) -> list[str]:
    """Write parameters and remappings as a command line."""
    words = ["--ros-args"]
    for name, value in flat(parameters or {}).items():
        words += ["-p", f"{name}:={json.dumps(value)}"]
    for old, new in (remap or {}).items():
        words += ["-r", f"{old}:={new}"]
    return words
