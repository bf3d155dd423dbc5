# SPDX-License-Identifier: Apache-2.0
"""Files of flow, occlusion, ids and moving: KITTI's bytes, and back."""

import cv2
import numpy as np

from depthkit.camera import Camera
from depthkit.data.flow_files import read_flow
from depthkit.data.sequence import SequenceWriter, open_sequence
from depthkit.data.truth import FrameTruth, read_truth, write_truth


def test_flow_has_kitti_bytes(tmp_path):
    """u = 1.5 px is 32768 + 96 in red, v = -2 is 32768 - 128 in green, blue is valid."""
    flow = np.zeros((2, 3, 2), np.float32)
    flow[0, 0] = 1.5, -2.0
    flow[1, 2] = np.nan, 0.0
    write_truth(tmp_path, "000000", FrameTruth(flow=flow))
    bgr = cv2.imread(str(tmp_path / "flow/000000.png"), cv2.IMREAD_UNCHANGED)
    assert bgr[0, 0].tolist() == [1, 32768 - 128, 32768 + 96]
    assert bgr[1, 2, 0] == 0 and bgr[0, 1].tolist() == [1, 32768, 32768]
    back = read_flow(tmp_path / "flow/000000.png")
    assert back[0, 0].tolist() == [1.5, -2.0] and np.isnan(back[1, 2]).all()


def test_all_maps_come_back(tmp_path):
    """Occlusion, ids up to 65535 and moving are exact; what was not written is None."""
    rng = np.random.default_rng(1)
    occluded, moving = rng.random((2, 4, 5)) > 0.5
    ids = rng.integers(0, 65536, (4, 5)).astype(np.uint16)
    write_truth(tmp_path, "000007", FrameTruth(occluded=occluded, ids=ids, moving=moving))
    back = read_truth(tmp_path, "000007")
    assert back.flow is None
    for name, value in (("occluded", occluded), ("ids", ids), ("moving", moving)):
        np.testing.assert_array_equal(getattr(back, name), value)
    assert read_truth(tmp_path, "000008") == FrameTruth()


def test_sequence_writes_and_reads_truth(tmp_path):
    """Truth handed to the writer is found again by frame number."""
    camera = Camera(5, 4, 4.0, 4.0, 2.0, 1.5)
    ids = np.full((4, 5), 3, np.uint16)
    with SequenceWriter(tmp_path / "s", camera, ext="png") as writer:
        for i in range(2):
            truth = FrameTruth(ids=ids + np.uint16(i))
            writer.add_frame(np.zeros((4, 5, 3), np.uint8), float(i), truth=truth)
    sequence = open_sequence(tmp_path / "s")
    assert (sequence.read_truth(1).ids == 4).all()
