# SPDX-License-Identifier: Apache-2.0
"""Tracks from frame to frame: the working image, new corners, KLT, and a way over wide baselines.

KLT follows corners from a predicted position. Where the view jumps too far for it (a still every
second, a fast turn), matched features say where the corners went, and KLT refines from there.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from depthkit.camera import resize_matrix
from depthkit.multiview.epipolar import normalise
from depthkit.multiview.features import Detector, match
from depthkit.multiview.tracks import normalise_contrast, rank_within, track
from depthkit.multiview.two_view import MIN_TRACKS, measure_motion

TRACKS = 400
"""Number of tracks that the front end keeps alive."""
LEAST_PIXELS = 30_000
"""Number of pixels up to which a small frame is enlarged: windows and borders are in pixels."""
QUALITY = 0.01
"""Strength of the weakest corner, as a share of the strongest."""
BORDER = 12
"""Pixels from the border inside which no corner is taken."""
CELLS, MOST_IN_CELL = (8, 6), 2.0
"""Columns and rows in which corners are counted, and how many times an even share one may hold: so
strong texture, as of a bus, does not take all tracks."""
MOVING = 0.5
"""Probability of being static below which nothing is tracked."""
NEIGHBOURS = 4
"""Number of matched features that predict where a corner went."""


@dataclass(frozen=True, eq=False)
class WorkingFrame:
    """A frame at the size the odometry works at."""

    image: np.ndarray
    """Contrast-normalised. (H, W) uint8"""
    gray: np.ndarray
    """As it came. (H, W) uint8"""
    rgb: np.ndarray
    """(H, W, 3) uint8"""
    K: np.ndarray
    """Intrinsics at that size, pixels. (3, 3)"""
    stamp: float
    """Seconds."""
    R_current_previous: np.ndarray | None = None
    """Rotation since the previous frame by a gyro. (3, 3)"""
    turn_sigma: float = 0.01
    """Standard deviation of that rotation, radians."""
    valid: np.ndarray | None = None
    """Where corners may lie. (H, W) bool"""
    static: np.ndarray | None = None
    """Probability that a pixel is static, where something says it. (H, W) float32"""

    @property
    def focal(self) -> float:
        """Focal length, pixels."""
        return float(np.sqrt(self.K[0, 0] * self.K[1, 1]))

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels to the plane z = 1. (N, 2)"""
        return normalise(pixels, self.K)[:, :2]

    def trust(self, pixels: np.ndarray) -> np.ndarray | None:
        """Probability that pixels are static; None where nothing says it. (N,)"""
        if self.static is None:
            return None
        height, width = self.static.shape
        u, v = np.clip(np.rint(pixels).astype(int), 0, (width - 1, height - 1)).T
        return self.static[v, u]

    def pixels(self, rays: np.ndarray) -> np.ndarray:
        """From the plane z = 1 to pixels. (N, 2)"""
        return rays * (self.K[0, 0], self.K[1, 1]) + self.K[:2, 2]


def working_size(size: tuple[int, int], most: int) -> tuple[int, int]:
    """Return the size to work at: the camera's, or LEAST_PIXELS to about `most` in all. (H, W)"""
    pixels = size[0] * size[1]
    scale = float(np.sqrt(np.clip(pixels, min(LEAST_PIXELS, most), most) / pixels))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def working_frame(
    rgb: np.ndarray,
    *,
    K: np.ndarray,
    stamp: float,
    most: int,
    valid: np.ndarray | None = None,
    static: np.ndarray | None = None,
) -> WorkingFrame:
    """Bring a frame to the working size and remove its brightness and contrast.

    Args:
        rgb: (H, W, 3) uint8
        K: intrinsics at H x W, pixels. (3, 3)
        stamp: seconds.
        most: largest number of pixels.
        valid: pixels that are picture at all. (H, W) bool
        static: probability that a pixel is static; NaN where unknown. (H, W)
    """
    size = working_size(rgb.shape[:2], most)
    small = rgb
    if size != rgb.shape[:2]:
        smaller = size[0] < rgb.shape[0]
        how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        small = cv2.resize(rgb, size[::-1], interpolation=how)
    if valid is not None:
        valid = working_valid(valid, size)
    if static is not None:
        known = np.nan_to_num(static, nan=1.0).astype(np.float32)
        static = cv2.resize(known, size[::-1], interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return WorkingFrame(
        image=normalise_contrast(gray),
        gray=gray,
        rgb=small,
        K=resize_matrix(rgb.shape[:2], size) @ K,
        stamp=stamp,
        valid=valid,
        static=static,
    )


def working_valid(valid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a mask to the working size, less a border in which patches would leave the picture.

    Args:
        valid: pixels that are picture at all. (H, W) bool
        size: working size (h, w).
    """
    mask = cv2.resize(valid.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.erode(mask, np.ones((2 * BORDER + 1,) * 2, np.uint8)) > 0


@dataclass(eq=False)
class Tracks:
    """Living tracks: which landmark, and where it is in the newest frame."""

    slots: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    """(N,)"""
    pixels: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """(N, 2)"""

    def __len__(self) -> int:
        return len(self.slots)

    def kept(self, kept: np.ndarray) -> "Tracks":
        """Return a part of the tracks, in memory of its own. kept: (N,) bool"""
        return Tracks(self.slots[kept], self.pixels[kept])

    def with_more(self, slots: np.ndarray, pixels: np.ndarray) -> "Tracks":
        """Return these tracks and others."""
        return Tracks(
            np.concatenate([self.slots, slots]),
            np.concatenate([self.pixels, pixels.astype(np.float32)]),
        )


def new_corners(frame: WorkingFrame, taken: np.ndarray, number: int) -> np.ndarray:
    """Find corners away from the tracks there are, strongest first.

    Args:
        frame: the frame.
        taken: pixels of living tracks. (N, 2)
        number: wanted number of tracks in all.

    Returns:
        Pixels. (M, 2) float32, M may be 0
    """
    height, width = frame.image.shape
    missing = number - len(taken)
    if missing <= 0:
        return np.zeros((0, 2), np.float32)
    # 1. Half of the spacing that an even grid would have keeps corners apart.
    apart = max(3, int(0.5 * np.sqrt(height * width / number)))
    mask = np.zeros((height, width), np.uint8)
    mask[BORDER : height - BORDER, BORDER : width - BORDER] = 255
    if frame.valid is not None:
        mask[~frame.valid] = 0
    if frame.static is not None:
        mask[frame.static < MOVING] = 0
    for u, v in np.rint(taken).astype(int):
        cv2.circle(mask, (int(u), int(v)), apart, 0, -1)
    # 2. The strongest corners of what is left, none of the cells with more than its share.
    found = cv2.goodFeaturesToTrack(frame.image, 0, QUALITY, apart, mask=mask, blockSize=5)
    if found is None:
        return np.zeros((0, 2), np.float32)
    return _spread(found.reshape(-1, 2), taken, (height, width), number)[:missing]


def _spread(
    corners: np.ndarray, taken: np.ndarray, size: tuple[int, int], number: int
) -> np.ndarray:
    """Leave out corners, strongest first, of cells that have MOST_IN_CELL shares already."""
    both = np.concatenate([taken, corners])
    cell = (both * CELLS / size[::-1]).astype(int) @ (1, CELLS[0])
    most = int(np.ceil(MOST_IN_CELL * number / (CELLS[0] * CELLS[1])))
    return corners[rank_within(cell)[len(taken) :] < most]


def follow(
    before: WorkingFrame, now: WorkingFrame, pixels: np.ndarray, guess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Follow tracks from a guess; from where they were, where the guess fails for most.

    Args:
        before, now: frames.
        pixels: in `before`. (N, 2) float32
        guess: expected in `now`. (N, 2)

    Returns:
        Pixels in `now` (N, 2) float32, and which are kept (N,) bool.
    """
    found, kept = track(before.image, now.image, pixels, guess=guess, levels=3)
    if len(kept) and kept.mean() < 0.5:
        again, more = track(before.image, now.image, pixels)
        if more.sum() > kept.sum():
            return again, more
    return found, kept


def follow_far(
    before: WorkingFrame, now: WorkingFrame, pixels: np.ndarray, detector: Detector
) -> tuple[np.ndarray, np.ndarray]:
    """Follow tracks over a wide baseline, guided by matched features.

    Args:
        before, now: frames.
        pixels: in `before`. (N, 2) float32
        detector: finds the features.

    Returns:
        Pixels in `now` (N, 2) float32, and which are kept (N,) bool; none without a motion that the
        matches agree on.
    """
    lost = pixels.copy(), np.zeros(len(pixels), bool)
    # 1. Matches that fit one two-view motion.
    a, b = (detector.detect(one.image, valid=one.valid) for one in (before, now))
    pairs = match(a, b)
    a_px, b_px = a.pixels[pairs[:, 0]], b.pixels[pairs[:, 1]]
    agreed = _agreed(a_px, b_px, now)
    if agreed is None or len(pixels) == 0:
        return lost
    R, fits = agreed
    # 2. The earlier frame turned into the new view: only shifts remain.
    H = now.K @ R @ np.linalg.inv(before.K)
    warped = cv2.warpPerspective(before.image, H, now.image.shape[::-1])
    at = cv2.perspectiveTransform(pixels[:, None].astype(np.float64), H)[:, 0]
    near = cv2.perspectiveTransform(a_px[fits][:, None].astype(np.float64), H)[:, 0]
    # 3. Each track's shift is the median of its nearest matches'.
    squared = ((at[:, None] - near[None]) ** 2).sum(axis=2)
    nearest = np.argsort(squared, axis=1, kind="stable")[:, :NEIGHBOURS]
    shift = np.median((b_px[fits] - near)[nearest], axis=1)
    start, guess = at.astype(np.float32), (at + shift).astype(np.float32)
    return track(warped, now.image, start, guess=guess, levels=2)


def _agreed(
    a: np.ndarray, b: np.ndarray, frame: WorkingFrame
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the rotation that matches agree on, and which of them; None if too few do."""
    if len(a) < MIN_TRACKS:
        return None
    E, inside = cv2.findEssentialMat(
        np.ascontiguousarray(frame.rays(a)),
        np.ascontiguousarray(frame.rays(b)),
        np.eye(3),
        cv2.USAC_MAGSAC,
        prob=0.999,
        threshold=1.5 / frame.focal,
        maxIters=1000,
    )
    if E is None or inside is None:
        return None
    fits = inside.reshape(-1) > 0
    motion = measure_motion(a[fits], b[fits], frame.K)
    return None if motion is None else (motion.R_b_a, fits)
