# SPDX-License-Identifier: Apache-2.0
"""Live equals offline: frames handed over one by one, as a node does, give the bytes of `infer`."""

import json
from pathlib import Path

import numpy as np
import pytest
from runtime.onnx_makers import write_mono, write_pair, write_pose

from depthkit.cli import main
from depthkit.data.sequence import Sequence, open_sequence
from depthkit.data.stream import StreamFrame
from depthkit.outputs.depth_folder import DepthFolder
from depthkit.outputs.pictures import save_confidence
from depthkit.pipelines.infer.writers import decision_line, known_depth
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.depth_stream import DepthStream
from depthkit.runtime.motion.told import Motion
from depthkit.runtime.odometry.odometry_engine import OdometryEngine
from depthkit.runtime.result import DepthResult
from depthkit.synth.boxes import write_box_sequence
from depthkit.trajectory import Trajectory, save_tum

FRAMES, SIZE = 10, (36, 48)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Sequence:
    """Frames with poses, a little larger than the networks of single frames."""
    root = tmp_path_factory.mktemp("live") / "room"
    write_box_sequence(root, FRAMES, SIZE, 2)
    return open_sequence(root)


def offline(model: Path, room: Sequence, out: Path, *words: str | Path) -> None:
    """Run `depthkit infer`."""
    given = ["infer", model, room.root, "--out", out, "--threads", "1", *words]
    assert main([str(word) for word in given]) == 0


def live(stream: DepthStream, room: Sequence, *, poses: bool) -> list[DepthResult]:
    """Hand over the frames in ONE buffer that is filled again and again, as a driver does."""
    buffer = np.empty((*SIZE, 3), np.uint8)
    results = []
    for i in range(len(room)):
        buffer[...] = room.read_frame(i)
        pose = room.poses[i] if poses and room.poses is not None else None
        stamp = float(room.times[i])
        results.append(stream.process(buffer, stamp=stamp, K=room.camera.K, motion=Motion(pose)))
    return results


def save(results: list[DepthResult], folder: Path) -> None:
    """Write maps and confidences as `infer` does."""
    depths = DepthFolder(folder / "depth", scale="metric", scale_source="")
    (folder / "confidence").mkdir()
    for i, result in enumerate(results):
        depth = known_depth(result)
        if depth is not None:
            depths.add(f"{i:06d}", depth)
        if result.confidence is not None:
            save_confidence(folder / "confidence" / f"{i:06d}.png", result.confidence)


def pictures(folder: Path) -> dict[str, bytes]:
    """Read all PNG files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


@pytest.mark.parametrize("rule", ["multi_range", "fixed", "best_of_n", "feedback"])
def test_pairs_live_equal_pairs_offline(tmp_path: Path, room: Sequence, rule: str) -> None:
    """Depth, confidence and every decision agree to the byte, whatever the rule."""
    model = write_pair(tmp_path / "pair.onnx", weights=(0.2, 0.1), focal=40.0)
    offline(model, room, tmp_path / "offline", "--rule", rule, "--shift", "2")
    with DepthEngine.open(model) as engine:
        config = BaselineConfig(rule=rule, shift=2)  # type: ignore[arg-type]
        results = live(DepthStream(engine, config), room, poses=True)
    save(results, tmp_path / "live")
    found, wanted = pictures(tmp_path / "live"), pictures(tmp_path / "offline")
    assert len(wanted) >= 2 * (FRAMES - 2) and found == wanted
    frames = [StreamFrame(i, f"{i:06d}", float(t), None) for i, t in enumerate(room.times)]
    lines = [decision_line(f, r) for f, r in zip(frames, results, strict=True)]
    assert (tmp_path / "offline/decisions.jsonl").read_text().splitlines() == lines
    assert len(json.loads(lines[-1])["shifts"]) >= 1


def test_single_frames_live_equal_single_frames_offline(tmp_path: Path, room: Sequence) -> None:
    """The same for a network of single frames, which resizes."""
    model = write_mono(tmp_path / "mono.onnx", scale="metric")
    offline(model, room, tmp_path / "offline")
    with DepthEngine.open(model) as engine:
        save(live(DepthStream(engine), room, poses=False), tmp_path / "live")
    wanted = pictures(tmp_path / "offline")
    assert len(wanted) == FRAMES and pictures(tmp_path / "live") == wanted


def test_motion_live_equals_motion_offline(tmp_path: Path, room: Sequence) -> None:
    """The chained poses of a pose network on flow are the same file."""
    depth = write_mono(tmp_path / "mono.onnx")
    pose = write_pose(tmp_path / "pose.onnx", flow=True)
    offline(depth, room, tmp_path / "offline", "--pose", pose, "--trajectory", "tum")
    buffer, poses = np.empty((*SIZE, 3), np.uint8), []
    with OdometryEngine.open(pose) as engine:
        for i in range(len(room)):
            buffer[...] = room.read_frame(i)
            poses.append(engine.process(buffer, stamp=float(room.times[i])).T_world_cam)
    save_tum(tmp_path / "live.txt", Trajectory(room.times, np.stack(poses)))
    written = (tmp_path / "offline/trajectory_tum.txt").read_text()
    assert written == (tmp_path / "live.txt").read_text() and len(set(written)) > 10
