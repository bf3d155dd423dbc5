# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: on the CPU everywhere, with CUDA and TensorRT where the package includes them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from depthkit.errors import EngineError
from depthkit.installation import install_line

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "onnxruntime": "CPUExecutionProvider",
}
# TensorRT builds for minutes, and wrong depth has been reported for it: it is never automatic.
_AUTOMATIC = ("cuda", "onnxruntime")


def load(
    model: bytes, *, own: str, device: str, threads: int, precision: str
) -> tuple[Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]], str, str]:
    """Load an ONNX graph.

    Args:
        model: the serialised graph.
        own: precision of the file.
        device: auto, or one of `PROVIDERS`.
        threads: CPU threads.
        precision: default, or the requested one.

    Returns:
        The function that runs the graph, its name, and the precision of the computation.

    Raises:
        EngineError: the package or the device is missing, or cannot compute in this precision.
    """
    runtime = _import()
    offered = runtime.get_available_providers()
    if device == "auto":
        device = next(name for name in _AUTOMATIC if PROVIDERS[name] in offered)
    if PROVIDERS[device] not in offered:
        raise EngineError(f"{device}: {_lacks(runtime)}")
    used = own if precision == "default" else precision
    if used != own and (device, used) != ("tensorrt", "fp16"):
        raise EngineError(
            f"ONNX Runtime computes in the file's own precision ({own}), not {used}; export with "
            f"--precision, or use --backend openvino"
        )
    session = _open(runtime, model, device, threads, used)
    outputs = [output.name for output in session.get_outputs()]

    def compute(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(outputs, session.run(outputs, dict(inputs)), strict=True))

    kind = "cpu" if device == "onnxruntime" else device
    return compute, f"onnxruntime-{kind}", used


def open_session(model: bytes, *, threads: int) -> Any:
    """Open a graph of any inputs and outputs on the CPU, as it stands.

    Args:
        model: the serialised graph.
        threads: CPU threads.

    Returns:
        The `onnxruntime.InferenceSession`.

    Raises:
        EngineError: the package is missing, or cannot load the graph.
    """
    return _open(_import(), model, "onnxruntime", threads, "fp32")


def look() -> dict[str, str]:
    """Return for each of `PROVIDERS` its version, or the reason why it is not available."""
    try:
        runtime = _import()
    except EngineError as error:
        return dict.fromkeys(("onnxruntime", "cuda", "tensorrt"), str(error))
    offered = runtime.get_available_providers()
    return {
        name: runtime.__version__ if PROVIDERS[name] in offered else _lacks(runtime)
        for name in ("onnxruntime", "cuda", "tensorrt")
    }


def _import() -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        remedy = install_line("runtime")
        raise EngineError(f"onnxruntime is not installed; run: {remedy}") from error
    return onnxruntime


def _lacks(runtime: Any) -> str:
    names = (name.removesuffix("ExecutionProvider") for name in runtime.get_available_providers())
    return (
        f"not in this ONNX Runtime {runtime.__version__} ({', '.join(names)}); "
        "run: pip install onnxruntime-gpu in its place"
    )


def _open(runtime: Any, model: bytes, device: str, threads: int, precision: str) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only; they are raised as exceptions too
    wanted: list[Any] = [PROVIDERS[device]]
    if device == "cuda":
        wanted = [(PROVIDERS[device], {"use_tf32": "0"})]  # TF32 has ten bits of mantissa
    if device == "tensorrt":
        wanted = [(PROVIDERS[device], {"trt_fp16_enable": str(int(precision == "fp16"))})]
        wanted.append(PROVIDERS["cuda"])
    if device != "onnxruntime":
        wanted.append(PROVIDERS["onnxruntime"])
    try:
        session = runtime.InferenceSession(model, options, providers=wanted)
    except Exception as error:  # its exceptions have no other common base
        raise EngineError(f"ONNX Runtime cannot load the model: {_first_line(error)}") from error
    if session.get_providers()[0] != PROVIDERS[device]:  # it falls back silently
        raise EngineError(
            f"{device}: ONNX Runtime includes it but cannot start it on this machine; "
            "use --backend onnxruntime"
        )
    return session


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
