# SPDX-License-Identifier: Apache-2.0
"""One call for all runtimes: open a checked model file, run arrays through it, close it.

ONNX Runtime on its best device, or OpenVINO, which on Intel processors computes the same file in
bf16 several times faster. No file is opened before its hash is checked, and no engine is returned
before it reproduces the stored output for the stored input (`open_checked`).
"""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from depthkit.errors import EngineError, ShapeError
from depthkit.runtime.network import backend_onnxruntime, backend_openvino
from depthkit.runtime.network.manifest import Manifest, read_model
from depthkit.runtime.network.parity import Parity, compare, stored_inputs

Compute = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]

BACKENDS = ("auto", "onnxruntime", "openvino", "cuda", "tensorrt")
CLOSING = 5.0  # seconds that `close` waits for a running call
PRECISIONS = ("default", "fp32", "bf16", "fp16")


class Backend:
    """A model file, loaded into one runtime. Threads may share it; they take turns."""

    def __init__(
        self, manifest: Manifest, compute: Compute, *, name: str, precision: str, threads: int
    ) -> None:
        """Keep what `open_backend` has loaded.

        Args:
            manifest: manifest of the file.
            compute: function that runs the model.
            name: runtime and device, such as onnxruntime-cpu.
            precision: precision of the computation.
            threads: CPU threads.
        """
        self.manifest, self.name = manifest, name
        self.precision, self.threads = precision, threads
        self._compute: Compute | None = compute
        self._turn = threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model.

        Args:
            inputs: images (N, H, W, 3) uint8 RGB by name, and flow (N, 2, H, W) float32 where the
                manifest names one.

        Returns:
            Outputs by name, new arrays: depth (N, H, W), motion (N, 6), flow (N, 2, H, W), with
            static_odds (N, H, W) from some flow networks, or features (N, C, h, w). float32

        Raises:
            EngineError: the backend is closed, or the runtime failed, for example out of memory.
            ShapeError: names, types or sizes differ from the model's.
        """
        check_inputs(self.manifest, inputs)
        with self._turn:
            if self._compute is None:
                raise EngineError(f"this {self.name} engine is closed; open it again")
            try:
                return self._compute(inputs)
            except Exception as error:  # exceptions of the runtimes have no other common base
                line = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise EngineError(f"{self.name} failed: {line}") from error

    def close(self) -> None:
        """Free the model after the running call; closing twice is allowed.

        A call that hangs is waited for at most CLOSING; it frees the model if it ends.
        """
        waited = self._turn.acquire(timeout=CLOSING)
        self._compute = None
        if waited:
            self._turn.release()


def input_names(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of a model's inputs, in order."""
    in_time = ("earlier", "later")
    names = {"mono": ("frame",), "features": ("frame",), "pair": ("previous", "current")}
    names |= {"pose": in_time, "flow": in_time, "place": ("frame",)}
    further = ("flow",) if manifest.flow else ("volume",) if manifest.planes else ()
    further = ("second",) if manifest.takes_raster else further
    return names[manifest.kind] + further


def check_inputs(manifest: Manifest, inputs: Mapping[str, np.ndarray]) -> None:
    """Check names, types and sizes of the inputs.

    Raises:
        ShapeError: they differ from what the model takes.
    """
    names = input_names(manifest)
    if set(inputs) != set(names):
        raise ShapeError(f"{manifest.kind} model takes {', '.join(names)}; got {', '.join(inputs)}")
    count, height, width = inputs[names[0]].shape[:3]
    own = {
        "flow": ((count, 2, height, width), np.dtype("f4")),
        "volume": ((count, len(manifest.planes), height, width), np.dtype("u1")),
    }
    for name in names:
        shape, dtype = own.get(name, ((count, height, width, 3), np.dtype("u1")))
        array = inputs[name]
        if array.shape != shape or array.dtype != dtype:
            raise ShapeError(f"{name} must be {dtype} {shape}, got {array.dtype} {array.shape}")
    if not manifest.dynamic and (height, width) != manifest.size:
        raise ShapeError(f"this model takes {manifest.size} (H, W) alone, got {(height, width)}")
    if height % manifest.size_multiple or width % manifest.size_multiple:
        raise ShapeError(
            f"sides must be multiples of {manifest.size_multiple}, got {height, width}"
        )


def open_backend(
    path: Path | str, *, backend: str = "auto", threads: int = 1, precision: str = "default"
) -> Backend:
    """Load a model file, after checking its hash and version.

    Args:
        path: the file, or a shipped model's name.
        backend: auto (ONNX Runtime on a GPU if it has one), onnxruntime (processor), openvino
            (processor), cuda, tensorrt.
        threads: CPU threads; leave one core free on a robot.
        precision: default (the file's own), fp32, bf16 or fp16, where backend and machine can.

    Raises:
        EngineError: the file is rejected, or the backend is missing or cannot run it.
    """
    _check_choice("backend", backend, BACKENDS)
    _check_choice("precision", precision, PRECISIONS)
    if threads < 1:
        raise EngineError(f"threads: 1 or more, got {threads}")
    file = read_model(path)
    own = file.manifest.precision
    if backend == "openvino":
        compute, used = backend_openvino.load(
            file.model, own=own, threads=threads, precision=precision
        )
        name = "openvino-cpu"
    else:
        compute, name, used = backend_onnxruntime.load(
            file.model, own=own, device=backend, threads=threads, precision=precision
        )
    return Backend(file.manifest, compute, name=name, precision=used, threads=threads)


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise EngineError(f"unknown {what} {value!r}; choose one of {', '.join(choices)}")


def available_backends() -> dict[str, str]:
    """Return each backend's version, or the reason why it cannot run here."""
    return backend_onnxruntime.look() | {"openvino": backend_openvino.look()}


def runnable() -> list[tuple[str, str]]:
    """Return the pairs of backend and precision that this machine can run."""
    found = [
        (name, "default")
        for name, words in backend_onnxruntime.look().items()
        if words[:1].isdigit()
    ]
    extra = [name for name in backend_openvino.precisions() if name != "fp32"]
    if backend_openvino.look()[:1].isdigit():
        found += [("openvino", name) for name in ("default", *extra)]
    return found


def check_parity(backend: Backend) -> Parity:
    """Run the model on the stored input and compare with the stored output."""
    outputs = backend.run(stored_inputs(backend.manifest.check))
    return compare(backend.manifest, outputs, backend.name, backend.precision)


def open_checked(
    path: Path | str, *, backend: str = "auto", threads: int = 1, precision: str = "default"
) -> Backend:
    """Load a model file by `open_backend`, and reject it if its output differs from the stored one.

    Raises:
        EngineError: as `open_backend`, or the parity check fails.
    """
    opened = open_backend(path, backend=backend, threads=threads, precision=precision)
    parity = check_parity(opened)
    if not parity.holds:
        opened.close()
        raise EngineError(f"{path}: {parity}; refused, take another --backend or precision")
    return opened
