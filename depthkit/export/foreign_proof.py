# SPDX-License-Identifier: Apache-2.0
"""Proof that an adopted file answers as the foreign graph does: backends, sizes, camera frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from depthkit.errors import EngineError
from depthkit.export.foreign_file import Port
from depthkit.export.foreign_match import Matched
from depthkit.export.foreign_reference import Run, comparable, reference_answer, reference_answers
from depthkit.export.pictures import draw_views
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.focal_rule import SOLVE_SHIFT, canonical_focal
from depthkit.runtime.network.backend import Backend, check_parity, open_backend, runnable
from depthkit.runtime.network.parity import Parity

_BORDER = 8  # the border of the camera frame's picture is 2 / _BORDER of the height, rounded


def prove_backends(partial: Path, foreign: Path) -> tuple[tuple[Parity, ...], tuple[str, ...]]:
    """Run the stored input on every backend of this machine.

    Args:
        partial: the file before it is published.
        foreign: the file that it was made from, for messages.

    Returns:
        Those that answer as the foreign graph does, and in words those that do not.

    Raises:
        EngineError: ONNX Runtime on the processor does not: the graph around it is wrong.
    """
    parities, refused = [], []
    for name, precision in runnable():
        try:
            backend = open_backend(partial, backend=name, precision=precision)
            try:
                parity = check_parity(backend)
            finally:
                backend.close()
        except EngineError as error:
            refused.append(f"{name} {precision}: {error}")
            continue
        if parity.holds:
            parities.append(parity)
        else:
            refused.append(str(parity))
    if not any(one.backend == "onnxruntime-cpu" for one in parities):
        raise EngineError(f"{foreign}: not adopted: {'; '.join(refused) or 'nothing runs it here'}")
    return tuple(parities), tuple(refused)


def prove_sizes(partial: Path, matched: Matched, output: Port, run: Run) -> str:
    """Run a graph with free sides at another size; return why it must stay at one, else nothing."""
    (height, width), step = matched.picture.size, max(matched.convention.multiple, 2)
    size = height + step, width + 2 * step
    other = replace(matched, picture=replace(matched.picture, size=size))
    picture = draw_views(size, seed=1).later
    backend = open_backend(partial, backend="onnxruntime")
    try:
        expected = reference_answers(other, output, run(picture), size)
        now = backend.run({"frame": picture[None]})
        worst = max(_difference(other, now[k][0], expected[k], backend) for k in expected)
    except EngineError as error:
        return f"its sides are called free, but it stays at {height}x{width}: {error}"
    finally:
        backend.close()
    if worst <= backend.manifest.tolerance:
        return ""
    return (
        f"its sides are called free, but it answers otherwise there: it stays at {height}x{width}"
    )


def prove_at_camera(partial: Path, matched: Matched, output: Port, run: Run) -> float | None:
    """Compare the engine with the foreign graph on a camera frame that needs border and focal rule.

    The frame has the height of the input less a border, so that nothing is resampled: what is
    compared is border, focal length, and the way back.

    Returns:
        The largest relative difference; None for descriptors, and where the engine solves a shift.

    Raises:
        EngineError: it is larger than allowed.
    """
    convention, (height, width) = matched.convention, matched.picture.size
    if convention.kind == "features" or convention.focal_rule == SOLVE_SHIFT:
        return None
    rule = convention.resize.rule
    border = 0 if rule == "stretch" else 2 * (height // _BORDER)
    top = {"letterbox": border // 2, "pad": 0}.get(rule, 0)
    top = border if rule == "pad" and convention.resize.side == "left-above" else top
    frame = draw_views((height - border, width), seed=1).later
    whole = np.full((height, width, 3), convention.resize.value, np.uint8)
    whole[top : top + height - border] = frame
    focal = 0.9 * width
    answer = reference_answer(matched, output, run(whole), (height, width))
    expected = (
        answer[top : top + height - border]
        * focal
        / (canonical_focal(convention.focal_rule) or focal)
    )
    K = np.array([[focal, 0, width / 2], [0, 0.8 * width, height / 3], [0, 0, 1]])
    with DepthEngine(open_backend(partial, backend="onnxruntime")) as engine:
        depth = engine.depth(frame, K=K).depth
        tolerance = engine.manifest.tolerance
        if depth is None:
            raise EngineError(f"{matched.file.path}: no depth on a frame of {frame.shape[:2]}")
        worst = _difference(matched, depth, expected, engine.backend)
    if not worst <= tolerance:
        raise EngineError(
            f"{matched.file.path}: the engine differs from the graph by {worst:.2g} (relative) on "
            f"a frame of {frame.shape[0]}x{frame.shape[1]}, allowed {tolerance:.2g}; not adopted"
        )
    return worst


def _difference(matched: Matched, now: np.ndarray, expected: np.ndarray, backend: Backend) -> float:
    """Return the relative difference by the file's precision: worst of fp32, else the median."""
    then = comparable(matched, expected)
    if now.shape != then.shape:
        raise EngineError(f"answers {now.shape} where the graph answers {then.shape}")
    known = np.isfinite(then)
    if not known.any():
        return 0.0
    gaps = np.abs(now[known] - then[known])
    if matched.convention.kind == "mono":
        gaps = gaps / np.abs(then[known])
    gaps = np.nan_to_num(gaps, nan=np.inf)
    return float(gaps.max() if backend.manifest.precision == "fp32" else np.median(gaps))
