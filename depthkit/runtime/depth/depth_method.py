# SPDX-License-Identifier: Apache-2.0
"""What a user names where a depth model is named: a network at work, or the word `sweep`.

One record for the command line, Python and the depth node: what a method needs, in which scale its
depth is, and the source of depth that it builds for a stream of frames.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np

from depthkit.errors import ConfigError
from depthkit.rigid import make_pose
from depthkit.runtime.config import Backend, BaselineConfig, Precision, Quality
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.depth_stream import DepthStream
from depthkit.runtime.depth.sweep_config import SweepConfig
from depthkit.runtime.motion.told import Motion
from depthkit.runtime.network.feature_engine import FeatureEngine
from depthkit.runtime.network.manifest import Ambiguity
from depthkit.runtime.result import Scale
from depthkit.runtime.streams import DepthSource

_SETTINGS: dict[str, SweepConfig] = {
    "fast": SweepConfig(shrink=4, planes=48, paths=4),
    "normal": SweepConfig(),
    "fine": SweepConfig(shrink=1),
}


_PLAIN_COSTS: dict[str, Literal["census", "zncc"]] = {"census": "census", "zncc": "zncc"}
"""Costs that need no network."""


class RunsOn(NamedTuple):
    """What computes the depth."""

    name: str
    """Backend of a network, or numba."""
    precision: str
    """Format of its numbers."""
    threads: int
    """Processor cores."""


@dataclass(frozen=True)
class DepthMethod:
    """A way to depth: a network of single frames or of pairs, or the sweep over several views."""

    kind: Literal["mono", "pair", "sweep"]
    engine: DepthEngine | None = None
    """Network; None of the sweep."""
    sweep: SweepConfig | None = None
    """Settings of the sweep; None of a network."""
    describe: FeatureEngine | None = None
    """Network whose descriptors the sweep compares; None of the other costs."""
    threads: int = 1
    """Processor cores of OpenCV; the sweep itself runs on one."""

    @property
    def uses_motion(self) -> bool:
        """Whether depth comes from the camera's motion; such depth has a confidence."""
        return self.kind != "mono"

    @property
    def needs_poses(self) -> bool:
        """Whether nothing less than poses will do: no speed, no attitude alone."""
        return self.kind == "sweep" or (self.engine is not None and self.engine.needs_direction)

    @property
    def takes_relative_poses(self) -> bool:
        """Whether poses without a unit are enough for depth without a unit."""
        return self.kind == "sweep" or not self.needs_poses

    @property
    def own_scale(self) -> Scale | None:
        """Scale of a network's training; None where that of the motion counts."""
        return None if self.engine is None or self.uses_motion else self.engine.manifest.scale

    @property
    def ambiguity(self) -> Ambiguity | None:
        """What a network of single frames leaves open, which the points of an odometry settle; None
        of depth from motion, which has the unit of the motion."""
        if self.engine is None or self.uses_motion:
            return None
        manifest = self.engine.manifest
        inverse = manifest.quantity in ("inverse", "disparity")
        # A shift of another quantity is none of the inverse depth: a factor is the most that fits.
        shifted = manifest.unresolved == "scale-and-shift"
        return "scale" if shifted and not inverse else manifest.unresolved

    @property
    def runs_on(self) -> RunsOn:
        """What computes the depth."""
        if self.engine is None:
            return RunsOn("numba", "fp32", self.threads)
        backend = self.engine.backend
        return RunsOn(backend.name, backend.precision, backend.threads)

    def build(
        self,
        pairs: BaselineConfig = BaselineConfig(),  # noqa: B008 (frozen)
        *,
        max_gap: float = 0.0,
    ) -> DepthSource:
        """Return a source of depth for one stream of frames.

        Args:
            pairs: choice of earlier frames of a pair network.
            max_gap: longest pause between two frames of the stream, seconds, where it is longer
                than that of the settings.
        """
        if self.engine is not None:
            longest = max(pairs.max_gap, max_gap)
            return DepthStream(self.engine, replace(pairs, max_gap=longest))
        from depthkit.runtime.depth.sweep_stream import SweepStream  # loads numba

        config = self.sweep or SweepConfig()
        longest = max(config.max_gap, max_gap)
        return SweepStream(replace(config, max_gap=longest), describe=self.describe)

    def warm_up(self) -> None:
        """Compile what the sweep runs, so that no frame of a live camera waits for it.

        The first time on a machine takes ten seconds of one core, later ones read what was compiled
        then. A network was run when it was opened.
        """
        if self.engine is not None:
            return
        source, noise = self.build(), np.random.default_rng(0)
        smooth = cv2.GaussianBlur(noise.random((240, 400, 3), np.float32), (0, 0), 3.0)
        wide = (255 * np.clip(4 * smooth - 1.5, 0, 1)).astype(np.uint8)  # can be tracked
        K = np.array([[300.0, 0.0, 159.5], [0.0, 300.0, 119.5], [0.0, 0.0, 1.0]])
        for i in range(3):  # 15 pixels of parallax a step; the third frame has a map to fuse with
            T_world_cam = make_pose(np.eye(3), np.array([0.1 * i, 0.0, 0.0]))
            rgb = np.ascontiguousarray(wide[:, 15 * i : 15 * i + 320])
            source.process(rgb, stamp=0.1 * i, K=K, motion=Motion(T_world_cam))

    def close(self) -> None:
        """Free the network."""
        for network in (self.engine, self.describe):
            if network is not None:
                network.close()

    def __enter__(self) -> "DepthMethod":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def network_method(engine: DepthEngine) -> DepthMethod:
    """Return the method of an open network, which is closed with it."""
    return DepthMethod(engine.kind, engine)


def sweep_method(
    quality: Quality = "normal",
    *,
    similarity: str = "census",
    threads: int = 1,
    backend: Backend = "auto",
    precision: Precision = "default",
) -> DepthMethod:
    """Return the sweep over several views.

    Args:
        quality: fast works at a quarter of the camera's size, normal at half, fine at all of it.
        similarity: what is compared: census, zncc, or an exported network of kind features.
        threads: processor cores of OpenCV and of that network.
        backend: runtime of that network.
        precision: numbers it computes in.

    Raises:
        ConfigError: another word for the quality.
        EngineError: no such network, or one of another kind.
    """
    if quality not in _SETTINGS:
        known = ", ".join(get_args(Quality))
        raise ConfigError(f"quality: one of {known}, got {quality!r}")
    cv2.setNumThreads(threads)
    config = _SETTINGS[quality]
    if (plain := _PLAIN_COSTS.get(similarity)) is not None:
        return DepthMethod("sweep", sweep=replace(config, cost=plain), threads=threads)
    describe = FeatureEngine.open(similarity, backend=backend, threads=threads, precision=precision)
    learned = replace(config, cost="learned")
    return DepthMethod("sweep", sweep=learned, describe=describe, threads=threads)
