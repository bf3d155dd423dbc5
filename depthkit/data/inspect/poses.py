# SPDX-License-Identifier: Apache-2.0
"""Is K plausible, and do the known poses fit the frames?

Tracks of moving pairs must lie on the epipolar lines that K and the known motion draw (Hartley and
Zisserman, 9.6), with the points in front of both cameras. Trying other focal lengths and the usual
other readings of a pose file shows which one is meant.
"""

import math
from dataclasses import dataclass

import numpy as np

from depthkit.camera import Camera
from depthkit.data.inspect.ladder import Pair
from depthkit.data.inspect.pictures import View
from depthkit.data.inspect.record import CameraFigures, PoseFigures
from depthkit.data.sequence import Sequence
from depthkit.multiview.epipolar import epipolar_fit, rotation_angle
from depthkit.rigid import inverse

FOV_RANGE = (20.0, 150.0)
"""Degrees; a pinhole model beyond is a fisheye or a mistake."""
ASPECT_TOLERANCE = 0.05
CENTRE_TOLERANCE = 0.1
"""Share of the image size by which the principal point may miss the middle."""
MIN_PAIRS = 4
FOCAL_RATIOS = np.geomspace(0.5, 2.0, 57)
"""Steps of 2.5 %."""
FOCAL_SIDE, FOCAL_RISE = 9, 1.5
"""A focal length is determined if the epipolar distance rises by half within 9 steps (25 %)."""
FOCAL_TOLERANCE = 0.1
CLEARLY_BETTER = 0.7
"""Another reading of poses or K is named if it cuts the epipolar distance to this share."""
EPIPOLAR_LIMIT = 1.0
"""Reduced pixels, median: above, poses and frames do not belong together."""
DISTANCE_CAP = 5.0
"""Reduced pixels."""
BEHIND_PENALTY = 10.0
LEAP_RATIO = 20.0

_GL = np.diag([1.0, -1.0, -1.0, 1.0])
_BODY = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # x fwd, z up
CONVENTIONS = {
    "T_world_cam": (False, np.eye(4)),
    "T_cam_world (inverted)": (True, np.eye(4)),
    "T_world_cam with OpenGL axes (y up, z back)": (False, _GL),
    "T_cam_world with OpenGL axes (y up, z back)": (True, _GL),
    "T_world_body (x forward, z up)": (False, _BODY),
    "T_body_world (x forward, z up)": (True, _BODY),
}
EXPECTED = "T_world_cam"


@dataclass(frozen=True)
class _Known:
    """A tracked pair with the poses of both frames."""

    pair: Pair
    T_world_a: np.ndarray
    T_world_b: np.ndarray


def check_camera(camera: Camera, wrong_size: int) -> CameraFigures:
    """Judge K by itself.

    Args:
        camera: of the sequence.
        wrong_size: how many frames have another size than the camera.
    """
    hfov = 2 * math.degrees(math.atan(camera.width / (2 * camera.fx)))
    vfov = 2 * math.degrees(math.atan(camera.height / (2 * camera.fy)))
    ratio = camera.fx / camera.fy
    centre = ((camera.cx + 0.5) / camera.width, (camera.cy + 0.5) / camera.height)
    findings = []
    if abs(ratio - 1) > ASPECT_TOLERANCE:
        findings.append(f"fx/fy is {ratio:.3f}, pixels are square on nearly all cameras")
    if max(abs(c - 0.5) for c in centre) > CENTRE_TOLERANCE:
        findings.append(
            f"principal point lies at {centre[0]:.2f}, {centre[1]:.2f} of the image, "
            "far from its middle; was the image cropped or K not rescaled?"
        )
    if not FOV_RANGE[0] <= hfov <= FOV_RANGE[1]:
        findings.append(f"horizontal field of view is {hfov:.0f} deg; is K of another image size?")
    if wrong_size:
        findings.append(f"{wrong_size} frames have another size than camera.yaml says")
    return CameraFigures(hfov, vfov, ratio, centre, tuple(findings))


def check_poses(seq: Sequence, pairs: list[Pair], view: View) -> PoseFigures | None:
    """Compare known poses with tracked pairs; None without poses.

    Args:
        seq: the sequence.
        pairs: tracked pairs of a gap with useful parallax, points included.
        view: the reduced image the pairs are measured in.
    """
    if seq.poses is None:
        return None
    known = _with_poses(seq.poses, pairs)
    findings: list[str] = []
    convention, focal, distance = EXPECTED, math.nan, math.nan
    if len(known) >= MIN_PAIRS:
        distance, _ = _disagreement(known, view.K, EXPECTED)
        convention = _best_convention(known, view)
        focal = _best_focal(known, view.K, convention)
        findings = _pose_findings(known, view, convention, focal)
    steps, speeds = _travel(seq.poses, seq.times)
    findings += _leap_findings(steps)
    rotation, direction = _angles(known)
    return PoseFigures(
        known=int(np.isfinite(seq.poses).all(axis=(1, 2)).sum()),
        unit="m" if seq.depth_kind == "metric" else "units",
        step_median=_median(steps),
        step_max=float(steps.max()) if len(steps) else math.nan,
        speed_median=_median(speeds),
        speed_max=float(speeds.max()) if len(speeds) else math.nan,
        pairs=len(known),
        rotation_error_deg=rotation,
        direction_error_deg=direction,
        epipolar_px=distance * view.to_full,
        focal_ratio=focal,
        convention=convention,
        findings=tuple(findings),
    )


def _with_poses(poses: np.ndarray, pairs: list[Pair]) -> list[_Known]:
    return [
        _Known(pair, poses[pair.a], poses[pair.b])
        for pair in pairs
        if pair.motion is not None
        and not pair.motion.is_rotation
        and np.isfinite(poses[[pair.a, pair.b]]).all()
        and np.linalg.norm(poses[pair.a][:3, 3] - poses[pair.b][:3, 3]) > 0
    ]


def _relative(known: _Known, convention: str) -> np.ndarray:
    """T_b_a of a pair when the file is read by a convention. (4, 4)"""
    inverted, axes = CONVENTIONS[convention]
    a, b = known.T_world_a, known.T_world_b
    T_b_a = b @ inverse(a) if inverted else inverse(b) @ a
    return axes @ T_b_a @ axes.T


def _disagreement(known: list[_Known], K: np.ndarray, convention: str) -> tuple[float, float]:
    """Mean epipolar distance (pixels) and share of pairs whose points lie behind the camera.

    The distance of a pair is the median over its tracks, capped. The mean over pairs lets the few
    that turn speak: a straight drive fits any focal length.
    """
    distances, behind = [], []
    for item in known:
        T_b_a = _relative(item, convention)
        distance, front = epipolar_fit(item.pair.points_a, item.pair.points_b, K, T_b_a)
        distances.append(min(distance, DISTANCE_CAP))
        behind.append(front < 0.5)
    return float(np.mean(distances)), float(np.mean(behind))


def _score(known: list[_Known], K: np.ndarray, convention: str) -> float:
    """Least disagreement of a convention at any focal length: a wrong K must not look like one."""
    found = [_disagreement(known, _scaled(K, r), convention) for r in FOCAL_RATIOS[::4]]
    return min(distance + BEHIND_PENALTY * behind for distance, behind in found)


def _best_convention(known: list[_Known], view: View) -> str:
    scores = {name: _score(known, view.K, name) for name in CONVENTIONS}
    best = min(scores, key=lambda name: scores[name])
    return best if scores[best] < CLEARLY_BETTER * scores[EXPECTED] else EXPECTED


def _best_focal(known: list[_Known], K: np.ndarray, convention: str) -> float:
    """Ratio of the least distance; NaN where the motion (straight ahead) hardly tells the focal."""
    scores = [_disagreement(known, _scaled(K, r), convention)[0] for r in FOCAL_RATIOS]
    best = int(np.argmin(scores))
    around = [scores[i] for i in (best - FOCAL_SIDE, best + FOCAL_SIDE) if 0 <= i < len(scores)]
    return float(FOCAL_RATIOS[best]) if min(around) > FOCAL_RISE * scores[best] else math.nan


def _is_better(known: list[_Known], K: np.ndarray, focal: float, here: float) -> bool:
    return _disagreement(known, _scaled(K, focal), EXPECTED)[0] < CLEARLY_BETTER * here


def _scaled(K: np.ndarray, ratio: float) -> np.ndarray:
    return K * np.array([[ratio, 1, 1], [1, ratio, 1], [1, 1, 1]])


def _pose_findings(known: list[_Known], view: View, convention: str, focal: float) -> list[str]:
    if convention != EXPECTED:
        return [f"poses look like {convention}, they must be T_world_cam with z forward"]
    here, behind = _disagreement(known, view.K, convention)
    if abs(focal - 1) > FOCAL_TOLERANCE and _is_better(known, view.K, focal, here):
        return [
            f"poses and frames agree best with a focal length {focal:.2f} times that of "
            "camera.yaml; check K"
        ]
    if here > EPIPOLAR_LIMIT or behind > 0.5:
        return [
            f"poses do not fit the frames: tracks miss their epipolar lines by "
            f"{here * view.to_full:.1f} px; check times, K and pose convention"
        ]
    return []


def _travel(poses: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance and speed between neighbouring frames that both have a pose."""
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    times = np.diff(times)
    known = np.isfinite(steps)
    return steps[known], steps[known] / times[known]


def _leap_findings(steps: np.ndarray) -> list[str]:
    if len(steps) == 0 or not steps.max() > LEAP_RATIO * np.median(steps) > 0:
        return []
    return [f"a pose leaps by {steps.max() / np.median(steps):.0f} times the usual step"]


def _angles(known: list[_Known]) -> tuple[float, float]:
    """Median angle of the measured to the known rotation and direction, degrees."""
    rotations, directions = [], []
    for item in known:
        motion = item.pair.motion
        if motion is None:
            continue
        T_b_a = _relative(item, EXPECTED)
        rotations.append(rotation_angle(motion.R_b_a @ T_b_a[:3, :3].T))
        t = T_b_a[:3, 3] / np.linalg.norm(T_b_a[:3, 3])
        directions.append(math.degrees(math.acos(np.clip(t @ motion.direction_b_a, -1, 1))))
    return _median(np.array(rotations)), _median(np.array(directions))


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else math.nan
