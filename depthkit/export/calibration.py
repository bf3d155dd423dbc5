# SPDX-License-Identifier: Apache-2.0
"""Inputs for int8 calibration, read from a sequence folder and prepared as on the robot."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.sequence import Sequence, open_sequence
from depthkit.errors import DataError
from depthkit.rigid import inverse
from depthkit.runtime.network.manifest import Manifest
from depthkit.runtime.odometry.odometry_engine import grey
from depthkit.runtime.preprocess import derotate, resize_K, size_at_focal, sweep_batch, to_size

MOST = 32  # inputs, spread over the sequence


def read_calibration(path: Path, manifest: Manifest) -> list[dict[str, np.ndarray]]:
    """Read inputs of a network.

    Args:
        path: sequence folder.
        manifest: what the network takes: single frames, or pairs as far apart as its first
            shift; where poses are known, frames of a pair network are turned alike by them.

    Raises:
        DataError: no such folder, a sequence shorter than one pair, or a network that takes what
            sequences do not hold.
        EngineError: pairs of a camera far from the training's.
    """
    sequence = open_sequence(path)
    if manifest.takes_raster:
        raise DataError(f"{path}: holds no rasters, and this network takes one; export it in fp32")
    alone = manifest.kind in ("mono", "place")
    gap = abs(manifest.shifts[0]) if not alone and manifest.shifts else 1
    first = 0 if alone else gap
    if len(sequence) <= first:
        raise DataError(f"{path}: {len(sequence)} frames, calibration needs {first + 1} at least")
    chosen = np.unique(np.linspace(first, len(sequence) - 1, MOST).astype(int))
    match manifest.kind:
        case "mono" | "place":
            inputs = ({"frame": to_size(sequence.read_frame(i), manifest.size)} for i in chosen)
        case "pair":
            inputs = (_pair(sequence, i - gap, i, manifest) for i in chosen)
        case "pose" | "flow":
            inputs = (_motion(sequence, i - gap, i, manifest) for i in chosen)
    return list(_batched(inputs))


def _batched(inputs: Iterator[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    for one in inputs:
        yield {name: np.ascontiguousarray(array)[None] for name, array in one.items()}


def _pair(
    sequence: Sequence, previous: int, current: int, manifest: Manifest
) -> dict[str, np.ndarray]:
    """Bring two frames to the network's focal length, and turn the first like the second."""
    size = size_at_focal(sequence.camera.K, sequence.camera.size, manifest)
    K = resize_K(sequence.camera.K, sequence.camera.size, size)
    earlier, later = (to_size(sequence.read_frame(i), size) for i in (previous, current))
    t = np.full(3, np.nan)
    if sequence.poses is not None and np.isfinite(sequence.poses[[previous, current]]).all():
        T = inverse(sequence.poses[current]) @ sequence.poses[previous]
        earlier, _ = derotate(earlier, R_target_source=T[:3, :3], K=K)
        t = T[:3, 3]
    inputs = {"previous": earlier, "current": later}
    if manifest.planes:
        frames = earlier[None], later[None]
        volume = sweep_batch(*frames, t_current_previous=t[None], K=K, manifest=manifest)
        inputs["volume"] = volume[0]
    return inputs


def _motion(
    sequence: Sequence, earlier: int, later: int, manifest: Manifest
) -> dict[str, np.ndarray]:
    frames = [to_size(sequence.read_frame(i), manifest.size) for i in (earlier, later)]
    inputs = {"earlier": frames[0], "later": frames[1]}
    if manifest.flow is not None:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow = search.calc(grey(frames[0]), grey(frames[1]), None)  # type: ignore[call-overload]
        inputs["flow"] = flow.transpose(2, 0, 1)
    return inputs
