# SPDX-License-Identifier: Apache-2.0
"""Metres for the depth of any network: fitted to the points of the odometry that runs beside it.

    scaled = ScaledDepth("scale")
    result = scaled.apply(stream.process(rgb, ...), odometry.process(rgb, ...))

Depth comes out in the unit of the odometry's translations: metres where those are metres, else the
one unknown unit of its segment, the same in all frames. Only landmarks with a measured depth count.
"""

from dataclasses import replace

import numpy as np

from depthkit.errors import DataError, ShapeError
from depthkit.rigid import inverse
from depthkit.runtime.depth.scale_fit_frame import LEAST_POINTS, TILES, FitPoints, weights_of
from depthkit.runtime.depth.scale_fit_track import FitTrack, ScaleFitConfig
from depthkit.runtime.network.manifest import Ambiguity
from depthkit.runtime.odometry.landmark_map import MAPPED
from depthkit.runtime.result import DepthResult, OdometryResult, Scale, ScaleFit

AMBIGUITIES: tuple[Ambiguity, ...] = ("none", "scale", "scale-and-shift")
FARTHEST = 100.0
"""Depth over the median depth of the points, beyond which a fit with a shift says nothing: its
inverse depth is within rounding of 0, or below."""

BETWEEN = 1.6
"""Error of a network between the points over that at the points, where it sees texture. On
RedKitchen 0-199 two networks need 1.1 and 1.8 for a 90 % band that holds 90 % of the pixels."""


class ScaledDepth:
    """Depth in the unit of an odometry (kept state). Deterministic; one thread at a time."""

    def __init__(
        self,
        ambiguity: Ambiguity,
        config: ScaleFitConfig = ScaleFitConfig(),  # noqa: B008 (frozen)
        *,
        scale: Scale | None = None,
    ) -> None:
        """Start without a fit.

        Args:
            ambiguity: what the network leaves open. scale-and-shift: of its inverse depth. none: a
                metric network, whose metres are held against the points' and calibrated where
                held-out points then agree better.
            config: settings.
            scale: the only scale that is wanted: depth of the other one is left out, with the
                reason. None for both.

        Raises:
            DataError: an unknown ambiguity.
        """
        if ambiguity not in AMBIGUITIES:
            raise DataError(f"ambiguity: one of {', '.join(AMBIGUITIES)}, got {ambiguity!r}")
        self.ambiguity, self.config, self._wanted = ambiguity, config, scale
        self.reset()

    def reset(self) -> None:
        """Forget the fit and the segment."""
        self._segment: int | None = None
        self._was_known = False
        self._metric = False
        self._middle = 1.0  # median depth of the points, unit of the odometry
        self._track = FitTrack(self.ambiguity, self.config)

    def apply(self, depth: DepthResult, odometry: OdometryResult) -> DepthResult:
        """Bring the depth of a frame to the unit of the odometry.

        Args:
            depth: by the network, of the same frame.
            odometry: its pose and points.

        Returns:
            The depth with its `fit`, scale and sigma; without depth, and with the reason, where the
            fit is unknown or lost. A metric network's depth is never left out for that.

        Raises:
            DataError: results of two frames.
            ShapeError: depth that is not (H, W).
        """
        self._check(depth, odometry)
        # 1. A new segment has another unit: the fit begins anew.
        if odometry.segment != self._segment:
            self._was_known |= self._track.factor is not None
            self._segment, self._metric = odometry.segment, False
            self._track = FitTrack(self.ambiguity, self.config)
        # 2. The points of this frame, where there are enough.
        reason = self._observe(depth, odometry)
        # 3. What is known of the fit by now.
        fit = self._state(odometry.stamp, reason)
        return self._scaled(depth, fit, odometry)

    def _check(self, depth: DepthResult, odometry: OdometryResult) -> None:
        if depth.stamp != odometry.stamp:
            raise DataError(
                f"scale fit: depth of {depth.stamp:.6f} s and odometry of {odometry.stamp:.6f} s; "
                "give both results of one frame"
            )
        if depth.depth is not None and depth.depth.ndim != 2:
            raise ShapeError(f"scale fit: depth must be (H, W), got {depth.depth.shape}")

    def _observe(self, depth: DepthResult, odometry: OdometryResult) -> str:
        """Let the track see the frame; return why it was no evidence, empty if it was."""
        self._track.tick(odometry.stamp)
        if odometry.points is not None:
            self._metric = odometry.scale == "metric"
        if self.ambiguity == "none" and not self._metric:
            return "the odometry has no metres to hold the network's against"
        points = points_of(depth, odometry)
        if isinstance(points, str):
            return points
        if not self._track.observe(odometry.stamp, points):
            return self._track.rejected
        self._middle = float(np.median(points.measured))
        return ""

    def _state(self, stamp: float, reason: str) -> ScaleFit:
        """Return the fit with its state."""
        track = self._track
        if track.factor is None or track.fitted_at is None:
            if self._was_known:
                return ScaleFit(state="lost", reason=f"a new segment of the odometry; {reason}")
            return ScaleFit(reason=reason)
        found = ScaleFit(
            factor=track.factor,
            shift=track.shift / track.factor,
            residual=track.residual,
            points=track.points,
            state="held" if reason else "observed",
            reason=reason,
        )
        since = stamp - track.fitted_at
        if since <= self.config.hold:
            return found
        why = f"no fit for {since:.1f} s, more than {self.config.hold:g} s; {reason}"
        return replace(found, state="lost", reason=why)

    def _scaled(self, depth: DepthResult, fit: ScaleFit, odometry: OdometryResult) -> DepthResult:
        """Return the depth by the fit, or without depth where there is none."""
        known = fit.state in ("observed", "held")
        if self.ambiguity == "none":
            done, fault = self._checked(depth, fit), ""
        else:
            done, fault = self._labelled(depth, fit, odometry)
        if done.depth is None or fault:
            reason = depth.reason or fault
            return replace(done, depth=None, valid=None, confidence=None, sigma=None, reason=reason)
        if not known:
            return done
        fitted, ahead = apply_fit(done.depth, fit, farthest=FARTHEST * self._middle)
        if depth.sigma is None:
            spread = np.hypot(BETWEEN * (fit.residual or 0.0), self._track.sigma)
            sigma = np.full(fitted.shape, spread, np.float32)
        else:
            sigma = np.hypot(depth.sigma, np.float32(self._track.sigma))
        valid = ahead if depth.valid is None else depth.valid & ahead
        return replace(done, depth=fitted, valid=valid, sigma=sigma)

    def _checked(self, depth: DepthResult, fit: ScaleFit) -> DepthResult:
        """Say on a metric network's depth what the points did to it."""
        calibrated = fit.state in ("observed", "held") and fit.factor != 1.0
        source = depth.scale_source
        if calibrated:
            source += f"; times {fit.factor:.3g} by the points of the odometry, in metres"
        return replace(depth, fit=fit, scale_source=source)

    def _labelled(
        self, depth: DepthResult, fit: ScaleFit, odometry: OdometryResult
    ) -> tuple[DepthResult, str]:
        """Give the depth the scale of the odometry, and say why it may not be used."""
        state = odometry.scale_state
        scale: Scale = "metric" if self._metric and state.metric else "relative"
        unit = f"in the unit of its segment {self._segment}"
        if scale == "metric":
            unit = f"metres by {state.source}"
        source = f"points of the odometry, {unit}"
        fault = ""
        if fit.state not in ("observed", "held"):
            fault = f"scale fit {fit.state}: {fit.reason}"
        elif self._wanted not in (None, scale):
            fault = f"depth is {scale}, wanted is {self._wanted}: {state.reason or source}"
        return replace(depth, fit=fit, scale=self._wanted or scale, scale_source=source), fault


def apply_fit(
    depth: np.ndarray, fit: ScaleFit, *, farthest: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Apply a known fit to a map of depth.

    Args:
        depth: by the network. (H, W) float32
        fit: with a factor.
        farthest: depth from which on a fit with a shift is unknown.

    Returns:
        depth: 0 where the fit has no depth. (H, W) float32
        ahead: where it has one. (H, W) bool
    """
    factor = np.float32(1.0 if fit.factor is None else fit.factor)
    known = np.isfinite(depth) & (depth > 0)
    if fit.shift == 0:
        return np.where(known, depth * factor, np.float32(0)), known
    safe = np.where(known, depth * factor, np.float32(1))
    inverse_depth = 1 / safe + np.float32(fit.shift)
    known &= inverse_depth > 1 / farthest
    return np.where(known, 1 / np.where(known, inverse_depth, 1), np.float32(0)), known


def points_of(depth: DepthResult, odometry: OdometryResult) -> FitPoints | str:
    """Return depths at the measured landmarks of a frame, or why there are none."""
    if odometry.points is None:
        return odometry.reason or "the odometry has no points"
    if depth.depth is None:
        return depth.reason or "the network has no depth"
    height, width = depth.depth.shape
    points = odometry.points
    # 1. Depth of each landmark along the optical axis.
    T_cam_world = inverse(odometry.T_world_cam)
    measured = points.positions @ T_cam_world[2, :3] + T_cam_world[2, 3]
    # 2. The network's depth at the nearest pixel.
    at = np.rint(points.pixels).astype(int)
    inside = ((at >= 0) & (at < (width, height))).all(axis=1)
    u, v = np.clip(at, 0, (width - 1, height - 1)).T
    network = depth.depth[v, u].astype(np.float64)
    good = inside & (points.sigma < MAPPED) & (measured > 0)
    good &= np.isfinite(network) & (network > 0)
    if depth.valid is not None:
        good &= depth.valid[v, u]
    if good.sum() < LEAST_POINTS:
        return f"{good.sum()} measured points where the network has depth, needs {LEAST_POINTS}"
    u, v = u[good], v[good]
    white = (u * TILES // width + v * TILES // height) % 2 == 0
    weight = weights_of(points.sigma[good], np.stack([u, v], axis=1), (height, width))
    return FitPoints(network[good], measured[good], weight, white)
