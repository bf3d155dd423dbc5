# SPDX-License-Identifier: Apache-2.0
"""What `infer` leaves: the writers that are wanted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from depthkit.data.folder import make_folder
from depthkit.errors import DataError
from depthkit.outputs.clouds import save_cloud
from depthkit.outputs.depth_folder import DepthFolder
from depthkit.outputs.pictures import (
    CONFIDENCE_LEVELS,
    InverseDepthColours,
    save_confidence,
    save_picture,
)
from depthkit.outputs.rerun_recording import RerunRecording
from depthkit.outputs.sigma_files import SIGMA_SCALE, save_sigma
from depthkit.outputs.video import SideBySideVideo
from depthkit.runtime.depth.depth_engine import SAME_FOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from depthkit.camera import Camera
    from depthkit.data.stream import StreamFrame
    from depthkit.runtime.depth.depth_method import DepthMethod
    from depthkit.runtime.network.manifest import Manifest
    from depthkit.runtime.result import DepthResult, ScaleFit

DECISIONS = "decisions.jsonl"
FITS = "scale_fits.jsonl"
UNITS = {
    "baselines": "baselines_m",
    "parallax": "parallax_px",
    "wanted": "wanted_m",
    "rotation": "rotation_deg",
}
"""Key in decisions.jsonl of those fields of a `Decision` that have a unit."""


class Outputs:
    """Depth and colours always; what is known of depth from motion; the rest where wanted."""

    def __init__(
        self,
        folder: Path,
        *,
        scale: Literal["metric", "relative"],
        camera: Camera | None,
        by_motion: bool,
        video_fps: float | None,
        cloud: bool,
        rerun: bool,
    ) -> None:
        """Open the writers.

        Args:
            folder: exists and is empty.
            scale: of depth and poses.
            camera: of the frames; needed for clouds.
            by_motion: depth is from the camera's motion: also write its confidence, its sigma
                where there is one, and which earlier frames were taken.
            video_fps: frames a second of the video, None for no video.
            cloud: write a PLY a frame.
            rerun: write a recording.
        """
        self.folder, self.by_motion, self.cloud = folder, by_motion, cloud
        self.K = None if camera is None else camera.K
        self.depth = DepthFolder(folder / "depth", scale=scale, scale_source="")
        self.colours = InverseDepthColours()
        self.video = None
        if video_fps is not None:
            self.video = SideBySideVideo(folder / "video.mp4", fps=video_fps)
        self.recording = RerunRecording(folder / "recording.rrd", K=self.K) if rerun else None
        wanted = {"colour": True, "cloud": cloud, "confidence": by_motion}
        for name in (name for name, is_wanted in wanted.items() if is_wanted):
            make_folder(folder / name)
        self.decisions, self.fits, self.has_sigma = list[str](), list[str](), False
        self.painted: np.ndarray | None = None
        """Depth of the last frame in colours; None where it had none. (H, W, 3) uint8"""

    def add(
        self,
        frame: StreamFrame,
        rgb: np.ndarray,
        result: DepthResult,
        T_world_cam: np.ndarray | None,
        *,
        segment: int | None = None,
    ) -> None:
        """Write everything about one frame; one without depth has no picture of it.

        Args:
            frame: its name and time.
            rgb: its colours. (H, W, 3) uint8
            result: depth at the frame's size, or the reason why it is missing.
            T_world_cam: pose where known. (4, 4)
            segment: of the odometry; None without one.
        """
        if self.by_motion:
            self.decisions.append(decision_line(frame, result, segment))
        if result.fit is not None:
            self.fits.append(fit_line(frame, result.fit))
        depth = known_depth(result)
        painted = self.painted = None if depth is None else self.colours.paint(depth)
        if depth is not None and painted is not None:
            self.depth.add(frame.name, depth)
            self.depth.scale_source = result.scale_source
            save_picture(self.folder / "colour" / f"{frame.name}.jpg", painted)
        if result.confidence is not None:
            save_confidence(self.folder / "confidence" / f"{frame.name}.png", result.confidence)
        if result.sigma is not None:
            self._add_sigma(frame.name, result.sigma)
        if self.video is not None:
            self.video.add(rgb, np.zeros_like(rgb) if painted is None else painted, frame.name)
        if self.cloud and self.K is not None and depth is not None:
            save_cloud(self.folder / "cloud" / f"{frame.name}.ply", depth, rgb, K=self.K)
        if self.recording is not None:
            self.recording.add(frame.time, rgb, depth, T_world_cam)

    def _add_sigma(self, name: str, sigma: np.ndarray) -> None:
        """Write the map; its folder appears with the first."""
        if not self.has_sigma:
            make_folder(self.folder / "sigma")
            self.has_sigma = True
        save_sigma(self.folder / "sigma" / f"{name}.png", sigma)

    def close(self, **notes: str) -> dict[str, str]:
        """Finish the files; return what lies where. notes: on what lies beside depth."""
        files = {"depth": "depth", "colours": "colour"}
        known = _confidence_note() if self.by_motion else {}
        known |= _sigma_note() if self.has_sigma else {}
        self.depth.close(**known, **notes)
        if self.has_sigma:
            files["sigma"] = "sigma"
        if self.by_motion:
            (self.folder / DECISIONS).write_text("\n".join(self.decisions) + "\n")
            files |= {"confidence": "confidence", "decisions": DECISIONS}
        if self.fits:
            (self.folder / FITS).write_text("\n".join(self.fits) + "\n")
            files["fits"] = FITS
        if self.video is not None:
            self.video.close()
            files["video"] = "video.mp4"
        if self.cloud:
            files["clouds"] = "cloud"
        if self.recording is not None:
            self.recording.close()
            files["recording"] = "recording.rrd"
        return files


def known_depth(result: DepthResult) -> np.ndarray | None:
    """Return the depth map as it is stored, 0 = unknown; None without one. (H, W) float32"""
    if result.depth is None or result.valid is None:
        return result.depth
    return np.where(result.valid, result.depth, np.float32(0))


def confident(result: DepthResult, least: float) -> DepthResult:
    """Leave out depth of little confidence.

    Args:
        result: of a frame.
        least: smallest confidence of a known pixel, 0 to 1; 0 keeps all.
    """
    if least <= 0 or result.depth is None or result.confidence is None:
        return result
    sure = result.confidence >= least
    return replace(result, valid=sure if result.valid is None else result.valid & sure)


def decision_line(frame: StreamFrame, result: DepthResult, segment: int | None = None) -> str:
    """Say as one JSON object with which earlier frames a frame was seen, and why.

    Args:
        frame: its name and time.
        result: its depth, or the reason why it is missing.
        segment: of the odometry; None without one.
    """
    record: dict[str, Any] = {"frame": frame.name, "index": frame.index, "stamp": frame.time}
    record |= {} if segment is None else {"segment": segment}
    if result.decision is not None:
        record |= {UNITS.get(key, key): value for key, value in vars(result.decision).items()}
    known = known_depth(result)
    share = 0.0 if known is None else float((known > 0).mean())
    return json.dumps(
        record | {"depth": known is not None, "known": round(share, 4), "no_depth": result.reason}
    )


def fit_line(frame: StreamFrame, fit: ScaleFit) -> str:
    """Say as one JSON object how the depth of a frame was fitted to the odometry's points."""
    return json.dumps({"frame": frame.name, "index": frame.index, "stamp": frame.time} | vars(fit))


def check_scale(result: DepthResult, scale: str, name: str) -> None:
    """Refuse relative depth among metres: one folder has one scale."""
    if result.depth is not None and result.scale != scale:
        raise DataError(f"{name}: its depth is {result.scale}, the folder's is {scale}")


def scale_notes(
    method: DepthMethod, scale: str, camera: Camera | None, *, odometry: str = ""
) -> Iterator[str]:
    """Say what the unit of the depth lacks: motion in metres, or a calibration.

    Args:
        method: where depth comes from.
        scale: of all depth that is written.
        camera: of the frames, where known.
        odometry: what a relative odometry lacks; empty where none runs.
    """
    if method.uses_motion and scale == "relative":
        unknown = "how far the camera moved is not known (no poses in metres): depth is relative"
        speed = "" if method.needs_poses else " or --speed M_PER_S"
        yield f"{unknown}; {odometry or f'give --poses FILE{speed} for metres'}"
    elif method.ambiguity not in (None, "none") and odometry and scale == "relative":
        yield f"depth is in the unit of the odometry's path, not metres; {odometry}"
    manifest = None if method.engine is None else method.engine.manifest
    if manifest is None or method.own_scale != "metric":
        return
    if camera is None:
        height, width = manifest.size
        learnt = f", {manifest.focal:.0f} px at {width}x{height}" if manifest.focal else ""
        yield (
            f"no calibration: metres rest on the focal length that was learnt{learnt}; give "
            "--camera camera.yaml, or take depth as relative"
        )
    else:
        yield from _other_focal(manifest, camera)


def _other_focal(manifest: Manifest, camera: Camera) -> Iterator[str]:
    """Say that a camera is not the one whose metres a network of single frames has learnt."""
    height, width = manifest.size
    focal = camera.fx * width / camera.width
    if manifest.focal and not 1 / SAME_FOCAL < focal / manifest.focal < SAME_FOCAL:
        yield (
            f"this camera has a focal length of {focal:.0f} px at {width}x{height}, the network "
            f"learnt {manifest.focal:.0f}: its metres do not hold here; take depth as relative, or "
            "a network that was trained on this camera"
        )


def _confidence_note() -> dict[str, str]:
    return {
        "confidence": f"../confidence, 8 bits: PNG value / {CONFIDENCE_LEVELS} = trust in a "
        "pixel's depth, 0 to 1"
    }


def _sigma_note() -> dict[str, str]:
    return {
        "sigma": f"../sigma, 16 bits: PNG value / {SIGMA_SCALE:g} = relative standard deviation of "
        "depth, 0 = unknown"
    }
