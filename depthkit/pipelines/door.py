# SPDX-License-Identifier: Apache-2.0
"""What `import depthkit` offers: each job as one function of paths and typed options.

The command line calls these functions with the same names of options. Nothing is printed: the
result is a record, progress goes to a `Watcher`, and what goes wrong is a `DepthkitError`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.camera import SourceCamera
    from depthkit.data.cropping import Crop
    from depthkit.data.sequence import Sequence
    from depthkit.pipelines.infer.summary import InferSummary
    from depthkit.pipelines.inspect import InspectSummary
    from depthkit.pipelines.match import MatchSummary
    from depthkit.pipelines.odometry.summary import OdometrySummary
    from depthkit.pipelines.prepare import PrepareSummary
    from depthkit.runtime.config import Backend, Precision, Quality, Rule
    from depthkit.trajectory import Order


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "auto",
    sequence: str | None = None,
    frames: tuple[int, int | None] = (0, None),
    every: int = 1,
    fps: float | None = None,
    camera: str | Path | SourceCamera | None = None,
    fov: float | None = None,
    poses: str | Path | None = None,
    camera_height: float | None = None,
    speed: float | None = None,
    max_gap: float = 0.15,
    odometry_topic: str = "",
    bits: Literal[10, 12, 16] = 16,
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto",
    quaternion: Order | None = None,
    depth_scale: float | None = None,
    body_to_camera: str | Path | None = None,
    imu: str | Path | None = None,
    imu_to_camera: str | Path | None = None,
    imu_units: str = "",
    imu_topic: str = "",
    bayer: Literal["rggb", "bggr", "grbg", "gbrg"] | None = None,
    levels: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    fit: Literal["stretch", "crop"] = "stretch",
    crop: Crop = "mask",
    name: str | None = None,
    split: Literal["train", "val", "test"] = "train",
    ext: Literal["jpg", "png"] = "jpg",
    force: bool = False,
    workers: int = 2,
    watcher: Watcher = SILENT,
) -> PrepareSummary:
    """Turn video, images, a ROS 2 bag or a data set into sequence folders.

    Args:
        source: folder, video file or bag.
        out: data set folder to write into; a sequence becomes out/NAME.
        format: layout of the source; auto detects it.
        sequence: one sequence of a source that has several.
        frames: first frame, and the one after the last; None for all.
        every: then take every n-th.
        fps: frames a second; overrules times found.
        camera: calibration, a file or a record.
        fov: no calibration at all: horizontal field of view of a pinhole, degrees.
        poses: file of T_world_cam: TUM, KITTI or EuRoC; or the word odometry: found in the frames.
        camera_height: of the camera over flat ground in view, metres; gives the odometry metres.
        speed: of the camera all the way, metres a second; gives the odometry metres.
        max_gap: seconds between two poses that a frame may lie between.
        odometry_topic: bags: whose poses count, 'none' for no poses; empty for the only one.
        bits: bags: bits in use of a 16-bit pixel.
        time_unit: of all times in the source and in `poses`; auto tells it by size and spacing.
        quaternion: order in `poses`; None for header, first pose and layout to decide.
        depth_scale: stored depth value per metre; None for the format's own.
        body_to_camera: file of T_body_cam (4, 4), where the poses are those of a body.
        imu: file of inertial samples on the clock of the frames; columns by their names.
        imu_to_camera: file of T_cam_imu (4, 4); None for what the source says.
        imu_units: units of the samples where they are not rad/s and m/s2: deg/s, g, mg, or two.
        imu_topic: bags: topic of the IMU, 'none' for no IMU; empty for the only one.
        bayer: frames are raw mosaics of this pattern.
        levels: pictures of more than 8 bits: values that become black and white; None for those
            in use over the sequence.
        size: (H, W) of the stored frames, pixels; None keeps that of the source.
        fit: another aspect ratio keeps all pixels, or cuts the longer side.
        crop: black borders: mask marks them in valid.png, auto cuts frames to the picture, none
            keeps all; or the window to cut (top, left, height, width), pixels.
        name: name of the written sequence.
        split: part of split.yaml that it is entered in.
        ext: format of stored frames.
        force: replace sequences that exist.
        workers: threads.
        watcher: receives progress, and a note for everything that is assumed.

    Raises:
        DataError: nothing to read, no calibration, an output that exists; nothing half-written.
    """
    from depthkit.data.prepare import PrepareOptions
    from depthkit.pipelines.odometry.options import ScaleSources
    from depthkit.pipelines.prepare import prepare as work

    options = PrepareOptions(
        source=Path(source),
        out=Path(out),
        format=format,
        camera=Path(camera) if isinstance(camera, str) else camera,
        fov=fov,
        fps=fps,
        poses=_path(poses),
        odometry_topic=odometry_topic,
        bits=bits,
        time_unit=time_unit,
        quaternion=quaternion,
        depth_scale=depth_scale,
        body_to_camera=_path(body_to_camera),
        imu=_path(imu),
        imu_to_camera=_path(imu_to_camera),
        imu_units=imu_units,
        imu_topic=imu_topic,
        levels=levels,
        size=size,
        fit=fit,
        crop=crop,
        every=every,
        start=frames[0],
        stop=frames[1],
        sequence=sequence,
        name=name,
        split=split,
        max_gap=max_gap,
        bayer=bayer,
        ext=ext,
        force=force,
        workers=workers,
    )
    return work(options, watcher, scale=ScaleSources(camera_height, speed))


def inspect(
    folder: str | Path,
    *,
    sequence: str | None = None,
    max_frames: int | None = None,
    save: bool = False,
    workers: int = 1,
    watcher: Watcher = SILENT,
) -> InspectSummary:
    """Look through prepared sequences: can they teach depth, and with which shifts?

    Args:
        folder: sequence folder, or a data set.
        sequence: only this one of the data set.
        max_frames: look one by one at the first frames of a sequence only.
        save: write inspect.json into each sequence folder.
        workers: processes for a data set; more than one needs a `__main__` guard in a script.
        watcher: receives progress.

    Raises:
        DataError: no such folder or sequence. A sequence that fails alone is in `errors`.
    """
    from depthkit.pipelines.inspect import InspectOptions
    from depthkit.pipelines.inspect import inspect as work

    return work(InspectOptions(Path(folder), sequence, max_frames, save, workers), watcher)


def odometry(
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
    loops: bool = False,
    features: str | Path | None = None,
    places: str | Path | None = None,
    map: str | Path | None = None,
    map_read_only: bool = False,
    every: int = 1,
    max_gap: float | None = None,
    format: Literal["tum", "kitti"] = "tum",
    topic: str = "",
    bits: Literal[10, 12, 16] = 16,
    write_poses: bool = False,
    force: bool = False,
    watcher: Watcher = SILENT,
) -> OdometrySummary:
    """Follow the camera without any network: trajectory, sparse points, report.

    Args:
        source: sequence folder, folder of images, video, ROS bag or one sequence of a data set.
        out: folder to write; it appears when all of it is there. Live poses are
            out/trajectory_tum.txt, T_world_cam with the first camera as the world.
        camera: calibration file; a sequence has its own.
        fov: without a calibration: horizontal field of view of a pinhole, degrees.
        camera_height: of the camera over flat ground in view, metres; gives metres.
        speed: of the camera all the way, metres a second; gives metres.
        imu: auto takes the samples of the source, none takes none; or their file.
        imu_to_camera: file of T_cam_imu (4, 4); None for what the source says.
        imu_units: units of the samples where they are not rad/s and m/s2: deg/s, g, mg, or two.
        imu_topic: bags: topic of the IMU; empty for the only one.
        loops: look for places that are seen again after a long time.
        features: ONNX file of learned keypoints, kind features; None for SIFT.
        places: ONNX file of a learned descriptor of places, kind place; None for the features.
        map: folder of a map: one that is there is searched at the start and after a loss, and
            extended; a new one begins. out/trajectory_map_tum.txt has the poses in its frame.
        map_read_only: search the map and leave it as it is.
        every: take every n-th frame.
        max_gap: longest pause inside a segment, seconds; None for 3, more for slow frames.
        format: of the trajectories.
        topic: bags: pictures to take; empty for the only ones.
        bits: bags: bits in use of a 16-bit pixel.
        write_poses: also write poses.txt and poses.yaml into the source, a sequence folder.
        force: replace an earlier output.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: nothing to read, no K, no frame with a pose, an output that exists, or a map that
            is damaged or of another camera or other features.
    """
    from depthkit.pipelines.odometry.options import OdometryOptions, ScaleSources
    from depthkit.pipelines.odometry.run import odometry as work

    options = OdometryOptions(
        source=Path(source),
        out=Path(out),
        camera=_path(camera),
        fov=fov,
        scale=ScaleSources(camera_height, speed, imu),
        imu_to_camera=_path(imu_to_camera),
        imu_units=imu_units,
        imu_topic=imu_topic,
        loops=loops,
        features=_path(features),
        places=_path(places),
        map=_path(map),
        map_read_only=map_read_only,
        every=every,
        max_gap=max_gap,
        format=format,
        topic=topic,
        bits=bits,
        write_poses=write_poses,
        force=force,
    )
    return work(options, watcher)


def infer(
    model: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    pose: str | Path | None = None,
    trajectory: Literal["tum", "kitti"] | None = None,
    flow: str | Path | None = None,
    video: bool = False,
    cloud: bool = False,
    rerun: bool = False,
    camera: str | Path | None = None,
    crop: Crop = "mask",
    quality: Quality | None = None,
    similarity: str | None = None,
    min_confidence: float = 0.0,
    rule: Rule | None = None,
    shift: int | None = None,
    poses: str | Path | None = None,
    speed: float | None = None,
    camera_height: float | None = None,
    topic: str = "",
    odometry_topic: str = "",
    bits: Literal[10, 12, 16] = 16,
    every: int = 1,
    backend: Backend = "auto",
    threads: int | None = None,
    precision: Precision = "default",
    force: bool = False,
    watcher: Watcher = SILENT,
) -> InferSummary:
    """Write depth maps of frames, and where wanted motion, flow, video and point clouds.

    Args:
        model: exported .onnx, run folder, checkpoint, or a shipped model's name; or the word sweep:
            depth from several views, without a network.
        source: sequence folder, folder of images, video or ROS 2 bag.
        out: folder to write; it appears when all of it is there. Depth is out/depth/NAME.png,
            (H, W) uint16, value / depth_scale = depth, 0 = unknown.
        pose: pose network; None takes the run's own where one is needed.
        trajectory: also write the pose network's chained motions, in this format.
        flow: flow network: also flow to the next frame and the static probability.
        video: also an mp4, frame beside depth.
        cloud: also a PLY a frame; needs K.
        rerun: also a recording for the rerun viewer.
        camera: calibration file of images or a video; a sequence has its own.
        crop: black borders: mask leaves them without depth, auto cuts frames to the picture, none
            keeps all; or the window to cut (top, left, height, width), pixels.
        quality: of the sweep: works at a quarter (fast), half or all (fine) of the frames' size;
            None for normal.
        similarity: of the sweep: census, zncc, or an exported network of kind features; None for
            census.
        min_confidence: leave out depth that is within 25 % of the truth with less than this
            probability; 0 keeps all. Not of networks of single frames.
        rule: pair networks: how earlier frames are chosen; None for multi_range.
        shift: pair networks: frames back, of rule fixed and while no displacement is known.
        poses: file of T_world_cam of the frames, metres, TUM rows on the source's clock; or the
            word odometry: found in the frames, in the same pass; depth of single frames is then
            fitted to its points. None for those of the source; the sweep takes odometry where it
            has none.
        speed: of the camera all the way, metres a second: of the odometry, else where nothing else
            is known.
        camera_height: with poses odometry: of the camera over flat ground in view, metres.
        topic: bags: pictures to take; empty for the only ones.
        odometry_topic: bags: whose poses count, 'none' for no poses; empty for the only one.
        bits: bags: bits in use of a 16-bit pixel.
        every: take every n-th frame.
        backend: runtime of the networks.
        threads: processor cores; OMP_NUM_THREADS, else all usable ones when None.
        precision: numbers the networks compute in.
        force: replace an earlier output.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: nothing to read, an output that exists, or options that do not go together.
        CheckpointError: there is no such model.
        EngineError: a network does not run here, or is of another kind.
    """
    from depthkit.pipelines.infer.options import InferOptions
    from depthkit.pipelines.infer.run import infer as work
    from depthkit.pipelines.models import engine_options

    options = InferOptions(
        model=Path(model),
        source=Path(source),
        out=Path(out),
        pose=_path(pose),
        trajectory=trajectory,
        flow=_path(flow),
        video=video,
        cloud=cloud,
        rerun=rerun,
        camera=_path(camera),
        crop=crop,
        quality=quality,
        similarity=similarity,
        min_confidence=min_confidence,
        rule=rule,
        shift=shift,
        poses=_path(poses),
        speed=speed,
        camera_height=camera_height,
        topic=topic,
        odometry_topic=odometry_topic,
        bits=bits,
        every=every,
        engine=engine_options(backend, threads, precision),
        force=force,
    )
    return work(options, watcher)


def match(
    left: str | Path,
    right: str | Path,
    out: str | Path,
    *,
    similarity: str | Path = "census",
    max_disparity: int | None = None,
    backend: Backend = "auto",
    threads: int | None = None,
    precision: Precision = "default",
    force: bool = False,
    watcher: Watcher = SILENT,
) -> MatchSummary:
    """Write the disparity of a rectified pair: (u, v) on the left is (u - d, v) on the right.

    Args:
        left: picture of the left camera.
        right: picture of the right camera, of the same size.
        out: folder to write; it appears when all of it is there. Disparity is out/disparity.png,
            (H, W) uint16, value / 256 = pixels, 0 = no match, and filled out/disparity.npy.
        similarity: what is compared: census, zncc, or a model of kind features (exported .onnx, run
            of task similarity, or a shipped model's name).
        max_disparity: largest disparity to search, pixels; None for what features suggest.
        backend: runtime of the model.
        threads: processor cores; OMP_NUM_THREADS, else all usable ones when None.
        precision: numbers the model computes in.
        force: replace an earlier output.
        watcher: receives notes that the user should read.

    Raises:
        DataError: a picture is missing, sizes differ, the pair is not rectified, or the output
            exists.
        CheckpointError: there is no such model.
        EngineError: it does not run here, or is of another kind.
    """
    from depthkit.pipelines.match import MatchOptions
    from depthkit.pipelines.match import match as work
    from depthkit.pipelines.models import engine_options

    options = MatchOptions(
        left=Path(left),
        right=Path(right),
        out=Path(out),
        similarity=str(similarity),
        max_disparity=max_disparity,
        engine=engine_options(backend, threads, precision),
        force=force,
    )
    return work(options, watcher)


def open_sequence(path: str | Path) -> Sequence:
    """Open a prepared sequence folder; frames are read one at a time, on demand.

    Args:
        path: folder with camera.yaml and frames/.

    Returns:
        camera: intrinsics `camera.K` (3, 3), pixels. times: seconds, (N,). poses: T_world_cam,
        (N, 4, 4), or None. read_frame(i): (H, W, 3) uint8. read_depth(i): (H, W), 0 = unknown.

    Raises:
        DataError: a part is missing, damaged or does not fit the others.
    """
    from depthkit.data import sequence

    return sequence.open_sequence(path)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
