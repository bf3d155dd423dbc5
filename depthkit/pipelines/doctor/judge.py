# SPDX-License-Identifier: Apache-2.0
"""What `depthkit doctor` concludes: which verbs can run with the packages that are here."""

from collections.abc import Callable
from dataclasses import dataclass

from depthkit.installation import install_line
from depthkit.pipelines.doctor.packages import PACKAGES, Package


@dataclass(frozen=True)
class State:
    """Whether a part answers."""

    state: str
    """present | missing | broken"""
    detail: str
    """Version or what answered, the reason when broken, empty when missing."""
    extra: str | None = None
    """The extra of depthkit that brings it, where one does."""


@dataclass(frozen=True)
class Ability:
    """Whether a verb can run here."""

    able: bool
    reason: str
    """Empty when able without limits."""


def judge(packages: dict[str, State]) -> dict[str, Ability]:
    """Say which verbs can run.

    Args:
        packages: state by module name.
    """
    core = _need(packages, lambda package: package.extra is None)
    # matplotlib belongs to both extras and is listed once: training writes pictures with it.
    train = _need(packages, lambda package: package.extra in (None, "train", "evaluate"))
    export = _need(packages, lambda p: p.extra in (None, "train", "evaluate", "runtime", "export"))
    runtime, synth = _judge_runtime(packages, core), _judge_synth(packages, core)
    plots = packages["matplotlib"].state == "present"
    evaluate = core
    if core.able:
        lacking = [] if plots else ["without plots: matplotlib is missing"]
        lacking += [f"without models: {runtime.reason}"] if not runtime.able else []
        evaluate = Ability(True, "; ".join(lacking))
    pictures = _need(packages, lambda package: package.extra in (None, "evaluate"))
    demo = next((one for one in (runtime, pictures, synth) if not one.able), synth)
    odometry = core
    if core.able and not plots:
        odometry = Ability(True, "without plots: matplotlib is missing")
    verbs = {"synth": synth, "prepare": core, "inspect": core, "odometry": odometry}
    verbs |= {"evaluate": evaluate}
    verbs |= {"train": train, "export": export}
    verbs |= {"verify": runtime, "infer": runtime, "infer sweep": core, "bench": runtime}
    return verbs | {"demo": demo}


def _judge_runtime(packages: dict[str, State], core: Ability) -> Ability:
    """ONNX Runtime runs by itself, OpenVINO when requested."""
    if not core.able or packages["onnxruntime"].state == "present":
        return core
    missing = next(package for package in PACKAGES if package.module == "onnxruntime")
    words = f"onnxruntime is {packages['onnxruntime'].state}; run: {missing.install_line}"
    if packages["openvino"].state == "present":
        return Ability(True, f"with --backend openvino alone: {words}")
    return Ability(False, words)


def _judge_synth(packages: dict[str, State], core: Ability) -> Ability:
    """One renderer must be there: OpenGL draws fast, rays draw anywhere and tell what is hidden."""
    lacking = [p for p in PACKAGES if p.extra == "synth" and packages[p.module].state != "present"]
    if not core.able or not lacking:
        return core
    names = " and ".join(package.distribution for package in lacking)
    if len(lacking) == 2:
        return Ability(False, f"{names} are missing; run: {lacking[0].install_line}")
    less = "slowly" if lacking[0].module == "moderngl" else "without occlusion"
    return Ability(True, f"{less}: {names} is missing")


def _need(packages: dict[str, State], belongs: Callable[[Package], bool]) -> Ability:
    lacking = [p for p in PACKAGES if belongs(p) and packages[p.module].state != "present"]
    if not lacking:
        return Ability(True, "")
    words = [f"{p.distribution} is {packages[p.module].state}" for p in lacking]
    return Ability(False, f"{', '.join(words)}; run: {_install_all(lacking)}")


def _install_all(lacking: list[Package]) -> str:
    """Return one command for packages of several extras; some extras bring others."""
    extras = {package.extra for package in lacking if package.extra is not None}
    extras -= {"evaluate"} if "train" in extras else set()
    extras -= {"runtime"} if "export" in extras else set()
    return install_line(*sorted(extras))
