# SPDX-License-Identifier: Apache-2.0
"""`depthkit.reconstruct`: from a video to 3-D, as one function of paths and typed options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.pipelines.reconstruct.summary import ReconstructSummary


def reconstruct(
    source: str | Path,
    out: str | Path,
    *,
    camera: str | Path | None = None,
    fov: float | None = None,
    camera_height: float | None = None,
    speed: float | None = None,
    imu: str | Path = "auto",
    imu_to_camera: str | Path | None = None,
    imu_units: str = "",
    imu_topic: str = "",
    every: int = 1,
    size: tuple[int, int] | None = None,
    max_gap: float | None = None,
    voxel: float | None = None,
    topic: str = "",
    bits: Literal[10, 12, 16] = 16,
    force: bool = False,
    watcher: Watcher = SILENT,
) -> ReconstructSummary:
    """Turn a video into path, depth, surface and a report, without any network.

    Args:
        source: sequence folder, folder of images, video, ROS bag or one sequence of a data set.
        out: folder to write; it appears when all of it is there. The surface is out/mesh.glb, the
            report out/report.html.
        camera: calibration file; a sequence has its own.
        fov: without a calibration: horizontal field of view of a pinhole, degrees; None: by EXIF,
            else found from the motion of points.
        camera_height: of the camera over flat ground in view, metres; gives metres.
        speed: of the camera all the way, metres a second; gives metres.
        imu: auto takes the samples of the source, none takes none; or their file.
        imu_to_camera: file of T_cam_imu (4, 4); None for what the source says.
        imu_units: units of the samples where they are not rad/s and m/s2: deg/s, g, mg, or two.
        imu_topic: bags: topic of the IMU; empty for the only one.
        every: take every n-th frame.
        size: (H, W) that frames are resized to before everything else, pixels; None keeps theirs.
        max_gap: longest pause inside a segment, seconds; None for 3, more for slow frames.
        voxel: finest detail of the surface, metres or the path's own unit; None: by the depth.
        topic: bags: pictures to take; empty for the only ones.
        bits: bags: bits in use of a 16-bit pixel.
        force: replace an earlier output.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: nothing to read, a single picture, no frame with a pose or none with depth, or
            an output that exists.
    """
    from depthkit.pipelines.odometry.options import ScaleSources
    from depthkit.pipelines.reconstruct.options import ReconstructOptions
    from depthkit.pipelines.reconstruct.run import reconstruct as work

    options = ReconstructOptions(
        source=Path(source),
        out=Path(out),
        camera=None if camera is None else Path(camera),
        fov=fov,
        scale=ScaleSources(camera_height, speed, imu),
        imu_to_camera=None if imu_to_camera is None else Path(imu_to_camera),
        imu_units=imu_units,
        imu_topic=imu_topic,
        every=every,
        size=size,
        max_gap=max_gap,
        voxel=voxel,
        topic=topic,
        bits=bits,
        force=force,
    )
    return work(options, watcher)
