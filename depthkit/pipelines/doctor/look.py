# SPDX-License-Identifier: Apache-2.0
"""Looks at this machine: processor, packages, runtimes, renderers, and what they allow."""

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthkit import __version__
from depthkit.errors import EngineError
from depthkit.pipelines.doctor.judge import Ability, State, judge
from depthkit.pipelines.doctor.packages import PACKAGES, Package, install_line
from depthkit.pipelines.doctor.ros import judge_nodes, look_at_ros

_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "neon", "asimd")
_NEVER_IMPORTED = {"evo"}  # GPL: looked at as an installed program


@dataclass(frozen=True)
class Examination:
    """What was found on this machine."""

    depthkit: str
    """Version."""
    machine: dict[str, str]
    packages: dict[str, State]
    """By the name to install."""
    backends: dict[str, State]
    """By the value of --backend."""
    parts: dict[str, State]
    can: dict[str, Ability]
    """By verb."""


def examine() -> Examination:
    """Look at everything; what is broken is a finding, not an error."""
    packages = {package.module: look_at_package(package) for package in PACKAGES}
    parts = {name: guarded(look) for name, look in _PARTS.items()} | look_at_ros()
    can = judge(packages)
    can["ROS nodes"] = judge_nodes(parts, can["infer"])
    return Examination(
        depthkit=__version__,
        machine=describe_machine(),
        packages={package.distribution: packages[package.module] for package in PACKAGES},
        backends=look_at_backends(),
        parts=parts,
        can=can,
    )


def check_core(found: Examination) -> None:
    """Raise if nothing can be done here.

    Raises:
        EngineError: a core package is missing or broken.
    """
    core = [package for package in PACKAGES if package.extra is None]
    broken = [p for p in core if found.packages[p.distribution].state != "present"]
    if broken:
        names = ", ".join(package.distribution for package in broken)
        raise EngineError(f"the core does not work without {names}; run: {install_line(broken[0])}")


# ---- the machine -------------------------------------------------------------------------------


def describe_machine() -> dict[str, str]:
    """Name Python, system, processor and memory."""
    return {
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "processor": _processor(),
        "cores": f"{len(_usable_cores())} usable of {os.cpu_count()}",
        "memory": _memory(),
    }


def _usable_cores() -> set[int]:
    """A container or `taskset` may allow fewer cores than there are."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(_split_line(line) for line in reversed(text.splitlines()) if ":" in line)
    model = fields.get("model name", platform.machine())
    flags = set((fields.get("flags") or fields.get("Features", "")).split())
    known = [flag for flag in _CPU_FLAGS if flag in flags]
    return f"{model} ({', '.join(known) or 'no vector extensions that matter here'})"


def _split_line(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _memory() -> str:
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
        fields = dict(_split_line(line) for line in text.splitlines())
        total, free = (int(fields[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return "unknown"
    return f"{total / 2**20:.1f} GiB, {free / 2**20:.1f} GiB free"


# ---- packages and parts ------------------------------------------------------------------------


def look_at_package(package: Package) -> State:
    """Import a package: one that is installed and does not import is as good as missing."""
    try:
        version = importlib.metadata.version(package.distribution)
        if package.module not in _NEVER_IMPORTED:
            importlib.import_module(package.module)
    except importlib.metadata.PackageNotFoundError:
        return _look_without_metadata(package)
    except Exception as error:  # a broken binary package may raise anything at import
        return State("broken", _one_line(error), package.extra)
    return State("present", version, package.extra)


def _look_without_metadata(package: Package) -> State:
    """A robot's own OpenCV or torch may import without having been installed by pip."""
    found = guarded(lambda: _version_of(package.module))
    return State(found.state, found.detail, package.extra)


def _version_of(module: str) -> str:
    return str(getattr(importlib.import_module(module), "__version__", "unknown version"))


def guarded(look: Callable[[], str]) -> State:
    """Run a look: empty text or an absent module is missing, any other failure is broken."""
    try:
        detail = look()
    except ModuleNotFoundError:
        return State("missing", "")
    except Exception as error:  # a part that fails to answer must not stop the report
        return State("broken", _one_line(error))
    return State("present" if detail else "missing", detail)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _gpu() -> str:
    torch: Any = importlib.import_module("torch")
    if torch.cuda.is_available():
        devices = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        return ", ".join(f"{one.name} {one.total_memory / 2**30:.0f} GiB" for one in devices)
    return "Apple GPU (mps)" if torch.backends.mps.is_available() else ""


def _onnxruntime() -> str:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    return f"{onnxruntime.__version__}: {', '.join(onnxruntime.get_available_providers())}"


def _openvino() -> str:
    openvino: Any = importlib.import_module("openvino")
    devices = ", ".join(openvino.Core().available_devices)
    precisions: Any = importlib.import_module(
        "depthkit.runtime.network.backend_openvino"
    ).precisions
    return f"{openvino.__version__}: {devices} ({', '.join(precisions())})"


def look_at_backends() -> dict[str, State]:
    """Say of each value of --backend whether it can run here: its version, or what is missing."""
    try:
        runtime: Any = importlib.import_module("depthkit.runtime.network.backend")
        found: dict[str, str] = runtime.available_backends()
    except Exception as error:  # a broken runtime must not stop the report
        return {"all": State("broken", _one_line(error))}
    return {
        name: State("present" if words[:1].isdigit() else "missing", words)
        for name, words in found.items()
    }


def _video() -> str:
    cv2: Any = importlib.import_module("cv2")
    registry = cv2.videoio_registry
    built = filter(registry.hasBackend, registry.getStreamBackends())
    return ", ".join(map(registry.getBackendName, built))


def _opengl() -> str:
    """Open a context: libraries that are there need not work."""
    gl: Any = importlib.import_module("depthkit.synth.render_gl")
    importlib.import_module("moderngl")  # where it is missing, so is this part
    info = gl.open_context().info
    return f"{info['GL_RENDERER']}, {info['GL_VERSION']}"


def _evo_program() -> str:
    beside = shutil.which("evo_ape", path=str(Path(sys.executable).parent))
    return shutil.which("evo_ape") or beside or ""


_PARTS: dict[str, Callable[[], str]] = {
    "GPU": _gpu,
    "ONNX Runtime": _onnxruntime,
    "OpenVINO": _openvino,
    "video backends": _video,
    "OpenGL": _opengl,
    "evo program": _evo_program,
}
