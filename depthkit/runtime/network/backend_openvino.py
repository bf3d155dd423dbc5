# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on the CPU: fp32, and bf16 where the CPU supports it."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from depthkit.errors import EngineError

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_INSTALL = "pip install 'depthkit[openvino]'"


def load(
    model: bytes, *, own: str, threads: int, precision: str
) -> tuple[Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]], str]:
    """Load an ONNX graph.

    Args:
        model: the serialised graph.
        own: precision of the file.
        threads: CPU threads.
        precision: default (fp32, or int8 for an int8 file), or the requested one.

    Returns:
        The function that runs the graph, and the precision of the computation.

    Raises:
        EngineError: the package is missing, or the processor cannot compute in this precision.
    """
    openvino = _import()
    core = openvino.Core()
    wanted = "fp32" if precision == "default" else precision
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if wanted.upper() not in able:
        raise EngineError(
            f"OpenVINO has no {wanted} on this processor, but {', '.join(able)}; use fp32"
        )
    settings = {
        # OpenVINO's default is bf16 where the CPU has it, which changes depth by a few per cent.
        "INFERENCE_PRECISION_HINT": _HINTS[wanted],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # With pinning, two engines on a robot would share one core and leave another idle.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        compiled = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", settings)
    except RuntimeError as error:
        line = str(error).strip().splitlines()[-1]
        raise EngineError(f"OpenVINO cannot load the model: {line}") from error
    request = compiled.create_infer_request()
    names = [port.get_any_name() for port in compiled.outputs]

    def compute(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return {name: np.array(results[i]) for i, name in enumerate(names)}

    return compute, own if own == "int8" and wanted == "fp32" else wanted


def look() -> str:
    """Return the version, or the reason why it is not available."""
    try:
        return str(_import().__version__)
    except EngineError as error:
        return str(error)


def precisions() -> tuple[str, ...]:
    """Return the precisions of this CPU, fp32 first; empty without the package."""
    try:
        able = _import().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except EngineError:
        return ()
    return tuple(name for name in _HINTS if name.upper() in able)


def _import() -> Any:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise EngineError(f"openvino is not installed; run: {_INSTALL}") from error
    return openvino
