# SPDX-License-Identifier: Apache-2.0
"""Depth as its readers take it, on real frames: the checks of depth_image_proc and rtabmap_ros.

Written from what image_pipeline 5.0 (point_cloud_xyz, conversions, depth_traits, and image_geometry
under it) and rtabmap_ros (MsgConversion: convertRGBDMsgs, cameraModelFromROS) demand.
"""

from pathlib import Path

import numpy as np
import pytest
from depth_rig import CAMERA, START
from ros_made import image, nanoseconds_of, odometry
from sensor_msgs.msg import CameraInfo, Image

from depthkit.data.image_io import read_rgb
from depthkit.data.importers import load_source
from depthkit.data.importers.sevenscenes import COLOUR
from depthkit.data.importers.source import ImportOptions
from depthkit.rigid import matrix_to_quaternion
from depthkit.ros_messages import read_pose, seconds
from depthkit.runtime import DepthEngine, DepthStream
from depthkit.runtime.motion.told import Motion

pytestmark = pytest.mark.ros

K = COLOUR.camera.K
SIZE = (480, 640)
THIRTIETH = 33_333_333  # nanoseconds
EVERY = 6  # of the clip's frames, about 4 cm apart


@pytest.fixture(scope="module")
def clip(data_root: Path) -> list[tuple[np.ndarray, int, np.ndarray]]:
    """Colours, stamps (ns) and poses of eight frames of the kitchen."""
    folder = data_root / "sevenscenes_redkitchen"
    source = load_source("sevenscenes", folder, "kitchen", ImportOptions(folder))
    return [
        (read_rgb(source.frames[index].path), START + index * THIRTIETH, source.poses[index])
        for index in range(0, 8 * EVERY, EVERY)
    ]


def as_told(T: np.ndarray, stamp: int) -> np.ndarray:
    """Return a pose as a quaternion in a message says it: the clip's matrices are rounded."""
    quaternion = matrix_to_quaternion(T[:3, :3])
    return read_pose(odometry(T[:3, 3], quaternion, stamp).pose.pose)


@pytest.fixture(scope="module")
def expected(clip) -> dict[int, np.ndarray]:
    """Stamp -> depth of the engine itself, NaN where not valid, metres. (H, W)"""
    with DepthEngine.open("depthnet-stillbox") as engine:
        stream = DepthStream(engine)
        results = {
            stamp: stream.process(rgb, stamp=seconds(stamp), K=K, motion=Motion(as_told(T, stamp)))
            for rgb, stamp, T in clip
        }
    return {
        stamp: np.where(result.valid, result.depth, np.nan)
        for stamp, result in results.items()
        if result.depth is not None
    }


def exact_triples(images, depths, infos) -> list[tuple[Image, Image, CameraInfo]]:
    """Pair messages whose stamps are equal to the nanosecond, as the exact policy does."""
    by_stamp = [{nanoseconds_of(one): one for one in some} for some in (images, depths, infos)]
    return [
        tuple(some[stamp] for some in by_stamp)
        for stamp in sorted(by_stamp[1])
        if all(stamp in some for some in by_stamp)
    ]


def depth_of(message: Image) -> np.ndarray:
    """Read metres as depth_traits do: 16UC1 is millimetres with 0 unknown. (H, W) float64"""
    assert message.encoding in ("16UC1", "32FC1") and not message.is_bigendian
    dtype = {"16UC1": np.uint16, "32FC1": np.float32}[message.encoding]
    assert message.step == message.width * np.dtype(dtype).itemsize
    assert len(message.data) == message.step * message.height  # cv_bridge takes no other
    values = np.frombuffer(message.data, dtype).reshape(message.height, message.width)
    if message.encoding == "32FC1":
        return values.astype(np.float64)
    return np.where(values > 0, values * 0.001, np.nan)


def cloud_of(message: Image, info: CameraInfo) -> np.ndarray:
    """Make points as depth_image_proc does, from P of camera_info. (H, W, 3), NaN unknown"""
    assert info.k[0] != 0, "PinholeCameraModel: uncalibrated"
    assert (info.height, info.width) == (message.height, message.width)
    assert info.binning_x in (0, 1) and info.binning_y in (0, 1)
    assert not any((info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height))
    fx, fy, cx, cy = (info.p[i] for i in (0, 5, 2, 6))
    z = depth_of(message)
    v, u = np.mgrid[: message.height, : message.width]
    return np.stack([(u - cx) * z / fx, (v - cy) * z / fy, z], axis=-1)


def check_like_rtabmap(rgb: Image, depth: Image, info: CameraInfo) -> None:
    """Refuse what convertRGBDMsgs and cameraModelFromROS refuse."""
    assert rgb.width % depth.width == 0 and rgb.height % depth.height == 0
    assert rgb.width / depth.width == rgb.height / depth.height
    assert rgb.header.frame_id == depth.header.frame_id == info.header.frame_id != ""
    assert info.k[0] > 0 and info.p[0] > 0 and len(info.d) in (4, 5, 8)
    assert info.distortion_model in ("plumb_bob", "rational_polynomial", "equidistant")


@pytest.mark.parametrize(
    ("settings", "shrink", "tolerance"),
    [
        ({}, 1, 0.0),
        ({"encoding": "16UC1"}, 1, 0.000501),
        ({"output_width": 320}, 2, 0.0),
    ],
)
def test_readers_take_every_depth(rigs, clip, expected, settings, shrink, tolerance):
    """Exact stamps and frames, sizes that fit camera_info, NaN unknown, metres of the engine."""
    motion = {"source": "odometry", "wait": 1.0}
    rig = rigs(model="depthnet-stillbox", motion=motion, **settings)
    rig.calibrate(K, SIZE)
    for rgb, stamp, T in clip:
        rig.show(rgb, stamp, T=T)
    images = [image(rgb, stamp, frame_id=CAMERA) for rgb, stamp, _ in clip]
    infos = rig.probe.wait_for(rig.got["depth/camera_info"], len(expected))
    triples = exact_triples(images, rig.got["depth"], infos)
    assert [nanoseconds_of(depth) for _, depth, _ in triples] == list(expected)
    assert len(expected) >= 6
    for rgb, depth, info in triples:
        check_like_rtabmap(rgb, depth, info)
        cloud = cloud_of(depth, info)
        metres = expected[nanoseconds_of(depth)][shrink - 1 :: shrink, shrink - 1 :: shrink]
        assert np.array_equal(np.isnan(cloud[..., 2]), np.isnan(metres))
        assert np.nanmax(np.abs(cloud[..., 2] - metres)) <= tolerance
        assert np.isfinite(metres).mean() > 0.5


def test_points_lie_where_the_camera_sees_them(rigs, clip, expected):
    """Points of the reduced depth project to within half a pixel of where they were taken."""
    motion = {"source": "odometry", "wait": 1.0}
    rig = rigs(model="depthnet-stillbox", motion=motion, output_width=160)
    rig.calibrate(K, SIZE)
    for rgb, stamp, T in clip[:3]:
        rig.show(rgb, stamp, T=T)
    rig.probe.wait_for(rig.got["depth/camera_info"], len(rig.got["depth"]))
    cloud = cloud_of(rig.got["depth"][-1], rig.got["depth/camera_info"][-1])
    known = np.isfinite(cloud[..., 2])
    u = K[0, 0] * cloud[..., 0][known] / cloud[..., 2][known] + K[0, 2]
    taken = np.nonzero(known)[1] * 4 + 2  # the nearest pixel of each 4 x 4
    assert np.abs(u - taken).max() <= 0.5 + 1e-6
