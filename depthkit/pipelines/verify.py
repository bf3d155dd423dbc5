# SPDX-License-Identifier: Apache-2.0
"""Does an exported model answer on this machine as it did in training?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from depthkit.errors import EngineError
from depthkit.runtime.network.backend import (
    available_backends,
    check_parity,
    open_backend,
    runnable,
)
from depthkit.runtime.network.manifest import Manifest, find_model, read_manifest
from depthkit.runtime.network.parity import Parity


@dataclass(frozen=True)
class Check:
    """The stored input on one backend."""

    backend: str
    """Name, with the precision where one was chosen."""
    holds: bool
    """It ran and its answer is close enough."""
    parity: Parity | None
    """Difference from the stored output; None where the backend failed."""
    error: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Verification:
    """All checks of a file."""

    file: Path
    manifest: Manifest
    checks: tuple[Check, ...]
    absent: dict[str, str]
    """Backend -> what is missing for it."""

    def as_json(self) -> dict[str, Any]:
        """Return the object that the command line prints."""
        checks = [
            {"backend": one.backend, "holds": one.holds, "error": one.error}
            | (asdict(one.parity) if one.parity else {})
            for one in self.checks
        ]
        ok = all(one.holds for one in self.checks)
        return {"file": str(self.file), "sha256": self.manifest.sha256, "ok": ok, "checks": checks}

    def require(self) -> None:
        """Raise if a backend does not answer as it should.

        Raises:
            EngineError: with the differences.
        """
        failed = [str(one.parity or one.error) for one in self.checks if not one.holds]
        if failed:
            count = f"{len(failed)} of {len(self.checks)}"
            raise EngineError(f"{self.file}: {count} FAILED: {'; '.join(failed)}")


def verify(model: Path, *, backend: str = "all", threads: int = 1) -> Verification:
    """Check the file, run its stored input on each backend.

    Args:
        model: exported .onnx, or a shipped model's name.
        backend: a name, or all for whatever this machine has, in each of its precisions.
        threads: processor cores.

    Raises:
        EngineError: the file is refused, or nothing here can run a model.
    """
    path = find_model(model)
    manifest = read_manifest(path)
    checks = tuple(check_one(path, *case, threads) for case in choose_cases(backend))
    absent = {
        name: words for name, words in available_backends().items() if not words[:1].isdigit()
    }
    return Verification(path, manifest, checks, absent)


def choose_cases(backend: str) -> list[tuple[str, str]]:
    """Return backends and precisions to run; a named one is tried in any case.

    Raises:
        EngineError: nothing here can run a model.
    """
    cases = runnable()
    if backend == "all":
        if not cases:
            raise EngineError("no runtime is installed; run: pip install 'depthkit[runtime]'")
        return cases
    return [case for case in cases if case[0] == backend] or [(backend, "default")]


def check_one(path: Path, backend: str, precision: str, threads: int) -> Check:
    """Run the stored input on one backend; one that does not even run has failed too."""
    name = backend if precision == "default" else f"{backend} {precision}"
    try:
        opened = open_backend(path, backend=backend, threads=threads, precision=precision)
        try:
            parity = check_parity(opened)
        finally:
            opened.close()
    except EngineError as error:
        return Check(name, holds=False, parity=None, error=str(error))
    return Check(name, parity.holds, parity)
