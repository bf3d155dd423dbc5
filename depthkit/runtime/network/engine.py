# SPDX-License-Identifier: Apache-2.0
"""Base class of all engines: owns a checked backend from opening to closing."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

import cv2

from depthkit.errors import EngineError

if TYPE_CHECKING:
    from depthkit.runtime.network.backend import Backend
    from depthkit.runtime.network.manifest import Manifest

AnyEngine = TypeVar("AnyEngine", bound="Engine")


class Engine:
    """Runs an exported network; a context manager."""

    kinds: ClassVar[tuple[str, ...]] = ()
    """Kinds of network that the engine can run, as named in manifests."""
    remedy: ClassVar[str] = ""
    """Advice in the error where the file holds another kind."""

    def __init__(self, backend: "Backend") -> None:
        """Take over a backend; it is closed with the engine.

        Raises:
            EngineError: the network is of another kind.
        """
        if backend.manifest.kind not in self.kinds:
            raise EngineError(
                f"expected a network of kind {' or '.join(self.kinds)}, got "
                f"{backend.manifest.kind}; {self.remedy}"
            )
        self.backend = backend

    @classmethod
    def open(
        cls: type[AnyEngine],
        path: Path | str,
        *,
        backend: str = "auto",
        threads: int = 1,
        precision: str = "default",
    ) -> AnyEngine:
        """Open an ONNX file, after its hash and its stored input and output were checked.

        Args:
            path: file written by `depthkit export`.
            backend: "auto", "onnxruntime", "openvino", "cuda" or "tensorrt".
            threads: CPU threads of the backend, and of OpenCV in the whole process (one setting).
            precision: "default", or one that the backend offers ("bf16").

        Raises:
            EngineError: missing, damaged, of another kind, or not in parity on this machine.
        """
        return open_engine(cls, path, backend=backend, threads=threads, precision=precision)

    @property
    def manifest(self) -> "Manifest":
        """Manifest of the file."""
        return self.backend.manifest

    @property
    def threads(self) -> int:
        """CPU threads of a run."""
        return self.backend.threads

    def close(self) -> None:
        """Wait for a running call and free the network; a later call raises EngineError."""
        self.backend.close()

    def __enter__(self: AnyEngine) -> AnyEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_engine(
    make: Callable[["Backend"], AnyEngine],
    path: Path | str,
    *,
    backend: str,
    threads: int,
    precision: str,
) -> AnyEngine:
    """Load a model file by `open_checked` and make an engine; a rejected backend is closed.

    Args:
        make: an engine's constructor; it raises EngineError where the network is of another kind.
        path, backend, threads, precision: as `Engine.open`.

    Raises:
        EngineError: as `open_checked`, or raised by `make`.
    """
    from depthkit.runtime.network.backend import open_checked

    opened = open_checked(path, backend=backend, threads=threads, precision=precision)
    try:
        engine = make(opened)
    except EngineError:
        opened.close()
        raise
    cv2.setNumThreads(threads)
    return engine
