# SPDX-License-Identifier: Apache-2.0
"""Finds frames of a camera that looks down in a georeferenced orthophoto, one after the other.

Tiles that look alike are compared feature by feature; what agrees gives the pose above the plane of
the ground. A place counts when its agreement is no chance, and when no other place has an agreement
nearly as good. The frame after a found one is looked for near it first.
"""

import cv2
import numpy as np

from depthkit.errors import DataError, check_shape
from depthkit.geodesy import Georeference
from depthkit.multiview.features import Detector, Sift, match
from depthkit.runtime.ortho.config import OrthoConfig
from depthkit.runtime.ortho.fix import FoundBy, Hypothesis, NotFound, OrthoFix
from depthkit.runtime.ortho.levels import (
    CELL,
    FACTOR,
    TILE,
    build_level,
    scale_of_height,
    scales_without_height,
)
from depthkit.runtime.ortho.plane_pose import fit_plane_pose
from depthkit.runtime.ortho.registration import (
    CLUE_SHARE,
    LOOSE,
    agrees,
    count_distinct,
    evidence,
    find_consensus,
    implied_turns,
    share_of_circle,
)
from depthkit.runtime.ortho.tile_index import Describe, Tile, TileIndex
from depthkit.runtime.ortho.view import Eye, View

LEAST_SIDE = 64
"""Pixels of the shorter side of a frame below which too few features are found."""
RING = 1
"""Cells around a tile whose features take part: a frame is wider than a tile and lies turned."""
HEIGHT_RANGE = 1.5
"""Largest ratio of the height to the one that was told."""
LEVEL_RANGE = 2.2
"""Largest ratio of the height to the one a level stands for, where it is unknown."""
APART = 0.5
"""Distance of two places from which they are two, sides of a tile."""
LEAST_FEATURES = 12
"""Features of a frame below which it is not looked for."""


class OrthoLocaliser:
    """Looks for frames in one orthophoto (kept state: its index, and the last place)."""

    def __init__(
        self,
        rgb: np.ndarray,
        georeference: Georeference,
        *,
        K: np.ndarray,
        size: tuple[int, int],
        valid: np.ndarray | None = None,
        config: OrthoConfig | None = None,
        detector: Detector | None = None,
        describe: Describe | None = None,
    ) -> None:
        """Index an orthophoto.

        Args:
            rgb: the orthophoto. (H, W, 3) uint8
            georeference: where it lies.
            K: of the frames, pixels. (3, 3)
            size: of the frames, (H, W) pixels.
            valid: where the orthophoto is picture at all; everywhere if None. (H, W) bool
            config: settings.
            detector: of features, SIFT if None.
            describe: learnt descriptor of places; VLAD of the features if None.

        Raises:
            DataError: frames too small, an orthophoto smaller than a frame or without features.
        """
        check_shape("OrthoLocaliser: rgb", rgb, "H W 3")
        if min(size) < LEAST_SIDE:
            raise DataError(
                f"frames of {size[1]}x{size[0]} pixels show too little; the shorter side must have "
                f"{LEAST_SIDE} or more"
            )
        self._georeference = georeference
        self._config = config or OrthoConfig()
        self._detector = detector or Sift()
        self._size = size
        self._focal = float(np.sqrt(K[0, 0] * K[1, 1]))
        self._eye = Eye(K, size, self._detector)
        self._heights, scales = self._plan(rgb.shape[:2])
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        valid = np.ones(gray.shape, bool) if valid is None else valid
        self._levels = [build_level(gray, valid, one, self._detector) for one in scales]
        self._index = TileIndex(self._levels, rgb, describe)
        self._learnt = describe is not None
        self._last: Hypothesis | None = None

    @property
    def tiles(self) -> int:
        """Number of tiles of all levels."""
        return len(self._index)

    @property
    def resolution(self) -> float:
        """Metres a pixel of the orthophoto, at its middle."""
        return self._resolution

    def reset(self) -> None:
        """Forget the last place: the next frame is looked for everywhere."""
        self._last = None

    def process(self, rgb: np.ndarray, *, valid: np.ndarray | None = None) -> OrthoFix | NotFound:
        """Look for a frame.

        Args:
            rgb: undistorted frame. (H, W, 3) uint8
            valid: where it is picture at all; everywhere if None. (H, W) bool

        Raises:
            DataError: it has another size than was told.
        """
        if rgb.shape != (*self._size, 3):
            got = "x".join(map(str, rgb.shape))
            raise DataError(f"frame: expected {self._size[0]}x{self._size[1]}x3, got {got}")
        views = list(self._eye.look(rgb, valid))
        count = max(len(view.features) for view in views)
        if count < LEAST_FEATURES:
            self._last = None
            return NotFound(f"only {count} features in the frame: blurred, dark or blank")
        found = self._near(views) or self._search(views)
        self._last = None if isinstance(found, NotFound) else found[0]
        return found if isinstance(found, NotFound) else self._fix(views[0], *found)

    # --- where to look ----------------------------------------------------------------------------

    def _plan(self, size: tuple[int, int]) -> tuple[list[tuple[float, float]], list[float]]:
        """Choose the levels, and the heights that are looked for at each."""
        middle = (np.array(size[::-1]) - 1) / 2
        metres = self._georeference.metres_at(middle)
        self._resolution = float(np.sqrt(abs(np.linalg.det(metres))))
        focal = self._focal
        told, ground = self._config.height, min(size) * self._resolution
        if told:
            footprint = told * min(self._size) / focal
            if footprint > ground:
                raise DataError(
                    f"orthophoto: {ground:.4g} m across, smaller than a frame, which shows "
                    f"{footprint:.4g} m at {told:g} m height"
                )
            scale = scale_of_height(footprint, self._resolution)
            return [(told / HEIGHT_RANGE, told * HEIGHT_RANGE)], [scale]
        scales = scales_without_height(size)
        stands_for = [
            TILE * CELL / scale * self._resolution * focal / min(self._size) for scale in scales
        ]
        return [(h / LEVEL_RANGE, h * LEVEL_RANGE) for h in stands_for], scales

    # --- looking ----------------------------------------------------------------------------------

    def _search(self, views: list[View]) -> tuple[Hypothesis, float, FoundBy] | NotFound:
        """Look everywhere: the best place, if it is no chance and has no rival."""
        config = self._config
        found = []
        for view in views:
            tiles = self._index.find(view.rgb, view.features, count=config.candidates)
            tests = len(tiles) * len(views)
            found += [one for tile in tiles if (one := self._compare(view, tile, tests))]
        if not found:
            return NotFound("no tile of the orthophoto shares enough features with the frame")
        found.sort(key=lambda one: -one.evidence)
        best = found[0]
        if best.evidence < config.evidence:
            return NotFound(
                f"agreement too weak: evidence {best.evidence:.1f}, needed {config.evidence:g}",
                best.evidence,
            )
        rival = max((one.evidence for one in found if self._is_elsewhere(one, best)), default=0.0)
        if rival * config.margin > best.evidence:
            return NotFound(
                f"two places look alike: evidence {best.evidence:.1f} and {rival:.1f}",
                best.evidence,
            )
        return best, rival, "search"

    def _near(self, views: list[View]) -> tuple[Hypothesis, float, FoundBy] | None:
        """Look near the place of the frame before."""
        last = self._last
        if last is None:
            return None
        level = self._levels[last.tile.level]
        cell = np.floor((last.foot + 0.5) * level.scale / CELL - (TILE - 1) / 2).astype(int)
        row = int(np.clip(cell[1], 0, max(0, level.rows - TILE)))
        column = int(np.clip(cell[0], 0, max(0, level.columns - TILE)))
        tile = Tile(last.tile.level, row, column, last.tile.similarity)
        found = [one for view in views if (one := self._compare(view, tile, len(views), ring=2))]
        best = max(found, key=lambda one: one.evidence, default=None)
        if best is None or best.evidence < self._config.evidence:
            return None
        return best, 0.0, "previous frame"

    def _compare(
        self, view: View, tile: Tile, tests: int, *, ring: int = RING
    ) -> Hypothesis | None:
        """Match a frame to a tile and its surroundings, and fit the pose."""
        level = self._levels[tile.level]
        known = level.block(tile.row, tile.column, size=TILE, ring=ring)
        pairs = match(view.features, known, ratio=self._config.ratio or None)
        if len(pairs) < 4:
            return None
        # 1. The ground in metres about the middle of the tile.
        origin = level.centre(tile.row, tile.column)
        metres = self._georeference.metres_at(origin)
        ground = (known.pixels[pairs[:, 1]].astype(np.float64) - origin) @ metres.T
        rays = view.rays[pairs[:, 0]]
        # 2. A view straight down, then all six numbers.
        config, limit = self._config, self._config.tolerance * view.diagonal
        implied = implied_turns(
            view.features.take(pairs[:, 0]),
            known.take(pairs[:, 1]),
            focal=self._focal,
            metres=metres,
        )
        start = find_consensus(
            rays,
            ground,
            tolerance=LOOSE * limit,
            heights=self._heights[tile.level],
            implied=implied,
        )
        pose = start and fit_plane_pose(
            start,
            rays,
            ground,
            tolerance=limit,
            noise=config.noise * view.diagonal,
            tilt_sigma=float(np.radians(config.tilt_sigma)),
            trusted=None if implied is None else agrees(implied, start.turn),
        )
        if not pose or pose.T_plane_cam[2, 3] <= 0:
            return None
        # 3. What their agreement is worth.
        side = (TILE + 2 * ring) * CELL / level.scale * self._resolution
        share = share_of_circle(limit * pose.T_plane_cam[2, 3], side**2)
        share *= 1.0 if implied is None else CLUE_SHARE
        agreeing = count_distinct(rays[pose.inliers], view.diagonal)
        worth = evidence(agreeing, len(pairs), share=share, tests=tests)
        return Hypothesis(tile, origin, metres, pose, len(pairs), worth)

    def _is_elsewhere(self, one: Hypothesis, best: Hypothesis) -> bool:
        """Whether a hypothesis is another place, another height or another heading."""
        side = TILE * CELL / self._levels[best.tile.level].scale
        heights = one.pose.T_plane_cam[2, 3], best.pose.T_plane_cam[2, 3]
        turn = abs((one.pose.heading - best.pose.heading + 180) % 360 - 180)
        return bool(
            np.linalg.norm(one.foot - best.foot) > APART * side
            or max(heights) > FACTOR * min(heights)
            or turn > 30
        )

    # --- what was found ---------------------------------------------------------------------------

    def _fix(self, view: View, best: Hypothesis, rival: float, found_by: FoundBy) -> OrthoFix:
        pose, foot = best.pose, best.foot
        latitude, longitude = self._georeference.to_geographic(foot[None])[0]
        T = pose.T_plane_cam
        rays = np.column_stack([view.corners, np.ones(4)]) @ T[:3, :3].T
        corners = T[:2, 3] + rays[:, :2] * (-T[2, 3] / np.minimum(rays[:, 2:], -1e-3))
        return OrthoFix(
            pixel=foot,
            latitude=float(latitude),
            longitude=float(longitude),
            altitude=float(T[2, 3]),
            heading=pose.heading,
            tilt=pose.tilt,
            R_ground_cam=T[:3, :3].copy(),
            covariance=pose.covariance,
            corners=best.origin + np.linalg.solve(best.metres, corners.T).T,
            inliers=int(pose.inliers.sum()),
            matches=best.matches,
            evidence=best.evidence,
            rival=rival,
            similarity=best.tile.similarity,
            found_by=found_by,
        )
