# SPDX-License-Identifier: Apache-2.0
"""What `depthkit infer` leaves: the writers that were asked for, and the chained motion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

    from depthkit.camera import Camera
    from depthkit.data.stream import StreamFrame
    from depthkit.training.predict import Predictor
    from depthkit.trajectory import Trajectory


class Outputs:
    """Depth and colours always; video, clouds and recording where asked for."""

    def __init__(
        self,
        folder: Path,
        *,
        scale: Literal["metric", "relative"],
        scale_source: str,
        camera: Camera | None,
        video_fps: float | None,
        cloud: bool,
        rerun: bool,
    ) -> None:
        """Open the writers.

        Args:
            folder: exists and is empty.
            scale: of depth and poses.
            scale_source: where it came from, in words.
            camera: of the frames; needed for clouds.
            video_fps: frames a second of the video, None for no video.
            cloud: write a PLY a frame.
            rerun: write a recording.
        """
        from depthkit.cli.rerun_recording import RerunRecording
        from depthkit.data.folder import make_folder
        from depthkit.runtime.output import DepthFolder, InverseDepthColours
        from depthkit.runtime.video import SideBySideVideo

        self.folder = folder
        self.K = None if camera is None else camera.K
        self.depth = DepthFolder(folder / "depth", scale=scale, scale_source=scale_source)
        self.colours = InverseDepthColours()
        self.video = None
        if video_fps is not None:
            self.video = SideBySideVideo(folder / "video.mp4", fps=video_fps)
        self.recording = RerunRecording(folder / "recording.rrd", K=self.K) if rerun else None
        self.cloud = cloud
        for name in ("colour", *(["cloud"] if cloud else [])):
            make_folder(folder / name)

    def add(
        self,
        frame: StreamFrame,
        rgb: np.ndarray,
        depth: np.ndarray,
        T_world_cam: np.ndarray | None,
    ) -> None:
        """Write everything about one frame.

        Args:
            frame: its name and time.
            rgb: its colours. (H, W, 3) uint8
            depth: at the frame's size. (H, W)
            T_world_cam: pose where known. (4, 4)
        """
        from depthkit.runtime.output import save_cloud, save_picture

        painted = self.colours.paint(depth)
        self.depth.add(frame.name, depth)
        save_picture(self.folder / "colour" / f"{frame.name}.jpg", painted)
        if self.video is not None:
            self.video.add(rgb, painted, frame.name)
        if self.cloud and self.K is not None:
            save_cloud(self.folder / "cloud" / f"{frame.name}.ply", depth, rgb, K=self.K)
        if self.recording is not None:
            self.recording.add(frame.time, rgb, depth, T_world_cam)

    def close(self) -> dict[str, str]:
        """Finish the files; return what lies where."""
        files = {"depth": "depth", "colours": "colour"}
        self.depth.close()
        if self.video is not None:
            self.video.close()
            files["video"] = "video.mp4"
        if self.cloud:
            files["clouds"] = "cloud"
        if self.recording is not None:
            self.recording.close()
            files["recording"] = "recording.rrd"
        return files


class MotionChain:
    """Chains the motions of neighbouring frames into poses; the first frame is the world."""

    def __init__(self, predictor: Predictor, camera: Camera | None) -> None:
        self.predictor = predictor
        self.K = None if camera is None else camera.K
        self.last: np.ndarray | None = None
        self.indices: list[int] = []
        self.times: list[float] = []
        self.poses: list[np.ndarray] = []

    def follow(self, frame: StreamFrame, rgb: np.ndarray) -> np.ndarray:
        """Return T_world_cam of the next frame. (4, 4)"""
        import numpy as np

        from depthkit.rigid import inverse

        pose = np.eye(4)
        if self.last is not None:
            T_now_last = self.predictor.relative_pose(self.last, rgb, K=self.K)
            pose = self.poses[-1] @ inverse(T_now_last)
        self.last = rgb
        self.indices.append(frame.index)
        self.times.append(frame.time)
        self.poses.append(pose)
        return pose

    def trajectory(self) -> Trajectory:
        """Return the poses so far."""
        import numpy as np

        from depthkit.trajectory import Trajectory

        return Trajectory(np.array(self.times), np.stack(self.poses))

    def length(self) -> float:
        """Return the length of the path, in the unit of the translations."""
        import numpy as np

        steps = np.diff(self.trajectory().positions, axis=0)
        return float(np.linalg.norm(steps, axis=1).sum())

    def save(self, folder: Path, kind: str) -> str:
        """Write the file and return its name; frames left out need KITTI's index column."""
        from depthkit.trajectory import save_kitti, save_tum

        name = f"trajectory_{kind}.txt"
        if kind == "tum":
            save_tum(folder / name, self.trajectory())
        else:
            whole = self.indices == list(range(len(self.indices)))
            indices = None if whole else self.indices
            save_kitti(folder / name, self.trajectory(), indices=indices)
        return name
