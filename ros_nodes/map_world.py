# SPDX-License-Identifier: Apache-2.0
"""What the map node keeps: surface and grid, and how corrections of the odometry move them."""

import numpy as np

from depthkit.mapping.band_grid import BandGrid
from depthkit.mapping.tsdf import Tsdf
from depthkit.rigid import exp_se3, inverse
from ros_nodes.map_config import MapNodeConfig

NEAR = 0.25
"""Relative error within which depth lies with the probability that is its confidence."""
LEAST_DOUBT = 1e-7
"""Smallest distance of a confidence from 1 that 32 bits tell: sigma 0.02."""
KEYFRAMES = 10  # keyframes of a submap: parts of its way


class MapWorld:
    """Surface and grid in the frame of the map; one thread."""

    def __init__(self, config: MapNodeConfig) -> None:
        """Start empty."""
        self._config = config
        band, keyframes = config.band, KEYFRAMES if config.map_frame else 0
        self.surface = Tsdf(
            voxel=config.voxel,
            max_depth=config.max_depth,
            max_blocks=config.max_blocks,
            max_weight=config.max_weight,
            keyframes_per_submap=keyframes,
        )
        self.grid = BandGrid(
            low=band.low,
            high=band.high,
            cell=band.cell,
            max_depth=config.max_depth,
            keyframes_per_submap=keyframes,
            most_cells=band.most_cells,
        )
        self.corrections = 0
        """Number of corrections that moved the map."""
        self._way = 0.0
        self._last_place: np.ndarray | None = None
        self._T_map_odom: np.ndarray | None = None
        self._since = 0

    def add(
        self,
        depth: np.ndarray,
        *,
        sigma: np.ndarray,
        K: np.ndarray,
        T_odom_cam: np.ndarray,
        T_map_odom: np.ndarray,
    ) -> None:
        """Add a frame, after the correction that may have come with it.

        Args:
            depth: metres, NaN unknown. (H, W)
            sigma: relative standard deviation of depth. (H, W)
            K: intrinsics, pixels. (3, 3)
            T_odom_cam: pose of the camera in the odometry's frame, metres. (4, 4)
            T_map_odom: pose of that frame in the map. (4, 4)
        """
        # 1. The keyframe, by the length of the way in the odometry, which never jumps.
        place = T_odom_cam[:3, 3]
        if self._last_place is not None:
            self._way += float(np.linalg.norm(place - self._last_place))
        self._last_place = place
        keyframe = int(self._way / self._config.submap_length * KEYFRAMES)
        # 2. A correction moves what was seen since the last one.
        self._follow(T_map_odom, keyframe)
        # 3. The frame.
        T_map_cam = T_map_odom @ T_odom_cam
        for part in (self.surface.integrate, self.grid.add):
            part(depth, K=K, T_world_cam=T_map_cam, sigma=sigma, keyframe=keyframe)

    def _follow(self, T_map_odom: np.ndarray, keyframe: int) -> None:
        before, self._T_map_odom = self._T_map_odom, T_map_odom
        if before is None or np.allclose(before, T_map_odom, rtol=0, atol=1e-6):
            return
        correction = T_map_odom @ inverse(before)
        self.surface.bend(correction, self._since)
        self.grid.bend(correction, self._since)
        self.corrections += 1
        self._since = keyframe


def load_kernels() -> None:
    """Load the compiled loops, or compile them the first time: half a minute, before any frame."""
    small = MapWorld(MapNodeConfig())
    depth, sigma = np.ones((2, 2), np.float32), np.full((2, 2), 0.01, np.float32)
    K, T = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]), np.eye(4)
    small.add(depth, sigma=sigma, K=K, T_odom_cam=T, T_map_odom=T)
    small.surface.surface_points()
    small.surface.move(exp_se3(np.array([0.1, 0, 0, 0, 0, 0])))
    small.surface.surface_points()


def sigma_of_confidence(confidence: np.ndarray) -> np.ndarray:
    """Return the relative standard deviation of which a confidence is the monotone view.

    Confidence is the probability that depth lies within 25 % of the truth; with Laplace errors of
    its logarithm that is 1 - exp(-sqrt(2) log(1.25) / sigma), as in `sweep_stream`.

    Args:
        confidence: 0 to 1. (H, W)

    Returns:
        sigma; NaN where confidence is 0. (H, W) float32
    """
    known = confidence > 0
    doubt = np.clip(1 - confidence.astype(np.float64), LEAST_DOUBT, None)
    sigma = -np.sqrt(2) * np.log(1 + NEAR) / np.log(np.where(known, doubt, 0.5))
    return np.where(known, sigma, np.nan).astype(np.float32)
