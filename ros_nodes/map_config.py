# SPDX-License-Identifier: Apache-2.0
"""Settings of the map node; its ROS parameters are declared from these dataclasses."""

from dataclasses import dataclass, field
from typing import Literal

from depthkit.config.ranges import check_ranges, option, require
from ros_nodes.inputs.frames import ExtrinsicConfig
from ros_nodes.inputs.motion_source import MotionConfig


@dataclass(frozen=True)
class PoseConfig:
    """Poses of the camera, from odometry in metres."""

    wait: float = option(0.3, least=0, most=5, live=True)
    """Longest wait of a frame for the odometry that brackets it, seconds; set it above the period
    of the topic."""
    max_gap: float = option(0.5, above=0)
    """Longest pause between two poses that is interpolated, seconds."""
    stale: float = option(1.0, above=0, live=True)
    """Longest silence of the odometry, seconds; a longer one is an error, and frames no longer
    wait."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def motion(self) -> MotionConfig:
        """Settings of the source of motion."""
        return MotionConfig(
            source="odometry", wait=self.wait, max_gap=self.max_gap, stale=self.stale
        )


@dataclass(frozen=True)
class BandConfig:
    """Height band of the grid and of near obstacles, in the odometry's frame, whose z is up."""

    low: float = option(0.1, least=-1000, most=1000)
    """Lowest height, metres above the origin of the odometry; set it above the floor."""
    high: float = option(1.5, least=-1000, most=1000)
    """Highest height, metres above the origin of the odometry; set it above the robot."""
    cell: float = option(0.1, above=0, most=10)
    """Side of a cell of the grid, metres."""
    most_cells: int = option(2048, least=64, most=8192)
    """Longest side of the grid, cells; cells far from the camera are dropped beyond."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(self.low < self.high, f"low: below high ({self.high:g}), got {self.low:g}")


@dataclass(frozen=True)
class MapNodeConfig:
    """Map, grid and inputs."""

    mode: Literal["map", "near_obstacles"] = "map"
    """Output. Map: `surface` and `grid`, which also clear. Near_obstacles: `obstacles`, marks of
    each frame alone, to be added to a costmap that other sensors clear."""
    voxel: float = option(0.05, above=0, most=10)
    """Distance of neighbouring voxels of the surface, and side of a cube of a mark, metres."""
    max_depth: float = option(5.0, above=0, most=1000)
    """Largest depth that is used, metres."""
    sigma: float = option(0.05, above=0, most=1)
    """Relative standard deviation of depth that comes without a confidence; 0.05 is 5 %."""
    min_confidence: float = option(0.0, least=0, below=1)
    """Smallest confidence of a used pixel; above 0 the node reads `confidence` of the depth node
    and weighs pixels by it. 0: every known pixel of `depth` is used."""
    max_rate: float = option(10.0, above=0, live=True)
    """Largest number of frames used a second; others are left out."""
    period: float = option(1.0, above=0, live=True)
    """Time between two messages of the surface and of the grid, seconds."""
    least_weight: float = option(1.0, above=0, live=True)
    """Smallest weight of a voxel of the surface; 1 is one observation with a standard deviation of
    one voxel."""
    max_weight: float = option(50.0, above=0)
    """Weight at which a voxel begins to forget, so that changes show."""
    max_blocks: int = option(8192, least=64, most=100_000)
    """Largest number of blocks of 16^3 voxels, 45 kB each; the farthest are dropped."""
    map_frame: str = ""
    """Frame above the odometry's, as map, in which loops are corrected: /tf then moves the map with
    its corrections and the map is published there. Empty: the frame of the odometry."""
    submap_length: float = option(5.0, above=0)
    """Length of the way whose blocks move as one rigid body under a correction, metres."""
    band: BandConfig = field(default_factory=BandConfig)
    """Height band of the grid and of near obstacles."""
    pose: PoseConfig = field(default_factory=PoseConfig)
    """Poses of the camera."""
    extrinsic: ExtrinsicConfig = field(default_factory=ExtrinsicConfig)
    """Pose of the camera on the odometry's body."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(self.voxel < self.max_depth, f"voxel: below max_depth, got {self.voxel:g}")
        reach = 2 * self.max_depth / self.band.cell + 2
        require(
            self.band.most_cells > reach,
            f"band.most_cells: more than the view spans ({reach:.0f}), got {self.band.most_cells}",
        )
