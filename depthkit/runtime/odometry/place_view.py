# SPDX-License-Identifier: Apache-2.0
"""A kept keyframe: its features, and where those lie whose position is known.

Positions come from the landmarks of the odometry next to a feature, and from features matched with
the neighbouring keyframes: corners that were tracked and SIFT features are seldom the same points.
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.errors import DataError, check_shape
from depthkit.multiview.epipolar import normalise
from depthkit.multiview.features import Features, match
from depthkit.rigid import inverse

LANDMARK_PIXELS = 1.5
"""Largest distance between a feature and the landmark whose position it takes, pixels."""
LANDMARK_SIGMA = 0.03
"""Relative standard deviation of the depth of a landmark of the odometry."""
RAY_ANGLE = np.radians(0.5)
"""Smallest angle between two rays that are intersected. On AirSim's laps twice as many places are
found again as with 1 degree: a place is seen again from nearby, where an error of depth hardly
shows."""
RAY_PIXELS = 2.0
"""Largest distance of an intersected point to its features, pixels."""


@dataclass(frozen=True, eq=False)
class Keyframe:
    """A keyframe of the odometry as it is handed over."""

    id: int
    """Number, rising."""
    stamp: float
    """Seconds."""
    segment: int
    """Segment of the odometry; each has a world and a unit of its own."""
    gray: np.ndarray
    """Undistorted image, 0..255. (H, W) uint8"""
    K: np.ndarray
    """Intrinsics, pixels. (3, 3)"""
    T_world_cam: np.ndarray
    """Pose in the world of the segment. (4, 4)"""
    pixels: np.ndarray
    """Where the keyframe sees its landmarks, pixels. (N, 2)"""
    positions: np.ndarray
    """Landmarks in the world of the segment. (N, 3)"""
    metric: bool = False
    """Whether lengths are metres."""

    def __post_init__(self) -> None:
        """Check shapes.

        Raises:
            ShapeError: an array has another shape.
            DataError: the pose is not finite.
        """
        check_shape("Keyframe: gray", self.gray, "H W")
        check_shape("Keyframe: K", self.K, "3 3")
        check_shape("Keyframe: T_world_cam", self.T_world_cam, "4 4")
        check_shape("Keyframe: pixels", self.pixels, f"{len(self.positions)} 2")
        check_shape("Keyframe: positions", self.positions, f"{len(self.pixels)} 3")
        if not np.isfinite(self.T_world_cam).all():
            raise DataError(f"Keyframe {self.id}: the pose holds NaN; hand over known poses only")


@dataclass(frozen=True, eq=False)
class PlaceView:
    """What is kept of a keyframe to find its place again; no image."""

    id: int
    stamp: float
    segment: int
    metric: bool
    K: np.ndarray
    T_world_cam: np.ndarray
    """Pose in the world of the segment, as the odometry gave it. (4, 4)"""
    features: Features
    points: np.ndarray
    """Positions of the features in the axes of the camera; NaN where unknown. (N, 3) float32"""
    sigmas: np.ndarray
    """Relative standard deviations of their depths, from the angle between the rays. (N,) float32
    """

    @property
    def known(self) -> np.ndarray:
        """Features whose position is known. (N,) bool"""
        return np.isfinite(self.points[:, 2])

    @property
    def depth(self) -> float:
        """Median depth of the known points; NaN without any."""
        known = self.known
        return float(np.median(self.points[known, 2])) if known.any() else float("nan")

    @property
    def bytes(self) -> int:
        """Bytes of the arrays."""
        own = self.features
        arrays = own.pixels, own.descriptors, own.scales, own.angles, self.points, self.sigmas
        return sum(array.nbytes for array in (*arrays, self.K, self.T_world_cam))

    def thinned(self, count: int) -> "PlaceView":
        """Keep the strongest features of known position only."""
        index = np.flatnonzero(self.known)[:count]
        return replace(
            self,
            features=self.features.take(index),
            points=self.points[index],
            sigmas=self.sigmas[index],
        )


def view_of(keyframe: Keyframe, features: Features) -> PlaceView:
    """Give the features of a keyframe the positions of landmarks beside them."""
    T_cam_world = inverse(keyframe.T_world_cam)
    landmarks = keyframe.positions @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
    points = np.full((len(features), 3), np.nan, np.float32)
    front = np.isfinite(landmarks).all(axis=1) & (landmarks[:, 2] > 0)
    if front.any() and len(features):
        pixels = keyframe.pixels[front]
        distance = np.linalg.norm(features.pixels[:, None] - pixels[None], axis=-1)
        nearest = distance.argmin(axis=1)
        close = distance[np.arange(len(features)), nearest] <= LANDMARK_PIXELS
        points[close] = landmarks[front][nearest[close]]
    return PlaceView(
        keyframe.id,
        keyframe.stamp,
        keyframe.segment,
        keyframe.metric,
        keyframe.K,
        np.asarray(keyframe.T_world_cam, np.float64),
        features,
        points,
        np.full(len(features), LANDMARK_SIGMA, np.float32),
    )


def add_points(a: PlaceView, b: PlaceView) -> tuple[PlaceView, PlaceView]:
    """Intersect the rays of matched features of two keyframes of one segment.

    Args:
        a, b: keyframes; their poses are taken as true.

    Returns:
        Both with the new positions where none was known, or a less certain one.
    """
    pairs = match(a.features, b.features)
    T_a_b = inverse(a.T_world_cam) @ b.T_world_cam
    rays_a = normalise(a.features.pixels[pairs[:, 0]], a.K)
    rays_b = normalise(b.features.pixels[pairs[:, 1]], b.K)
    depths, sine, good = intersect_rays(rays_a, rays_b, T_a_b, float(a.K[0, 0]))
    sigmas = 1.0 / (a.K[0, 0] * np.maximum(sine, 1e-6))
    points_a, points_b = rays_a * depths[:, :1], rays_b * depths[:, 1:]
    return (
        _with(a, pairs[good, 0], points_a[good], sigmas[good]),
        _with(b, pairs[good, 1], points_b[good], sigmas[good]),
    )


def _with(view: PlaceView, index: np.ndarray, points: np.ndarray, sigmas: np.ndarray) -> PlaceView:
    """Fill positions that are not known yet, or known less well."""
    filled, spread = view.points.copy(), view.sigmas.copy()
    new = ~view.known[index] | (sigmas < view.sigmas[index])
    filled[index[new]], spread[index[new]] = points[new], sigmas[new]
    return replace(view, points=filled, sigmas=spread)


def intersect_rays(
    rays_a: np.ndarray, rays_b: np.ndarray, T_a_b: np.ndarray, focal: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the depths at which two rays come nearest.

    Args:
        rays_a, rays_b: points on the plane z = 1 of either camera. (N, 3)
        T_a_b: points in b to points in a. (4, 4)
        focal: focal length, pixels.

    Returns:
        depths: along the optical axes of a and b. (N, 2)
        sine: of the angle between the rays. (N,)
        good: both depths above 0, rays RAY_ANGLE or more apart, and the points within RAY_PIXELS of
            each other as either camera sees them. (N,) bool
    """
    turned, t = rays_b @ T_a_b[:3, :3].T, T_a_b[:3, 3]
    # 1. Normal equations of |z_a rays_a - z_b turned - t|^2.
    aa, bb = (rays_a**2).sum(axis=1), (turned**2).sum(axis=1)
    ab, at, bt = (rays_a * turned).sum(axis=1), rays_a @ t, turned @ t
    determinant = np.maximum(aa * bb - ab**2, 1e-12)
    depth_a = (bb * at - ab * bt) / determinant
    depth_b = (ab * at - aa * bt) / determinant
    # 2. Keep what lies in front, has parallax, and meets.
    sine = np.sqrt(determinant / (aa * bb))
    gap = np.linalg.norm(rays_a * depth_a[:, None] - turned * depth_b[:, None] - t, axis=1)
    near = np.minimum(depth_a, depth_b)
    good = (near > 0) & (sine >= np.sin(RAY_ANGLE)) & (focal * gap <= RAY_PIXELS * near)
    return np.column_stack([depth_a, depth_b]), sine, good
