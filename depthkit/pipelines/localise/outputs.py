# SPDX-License-Identifier: Apache-2.0
"""The files that `localise` leaves: table, GeoJSON, trajectory, and the path on the orthophoto."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from depthkit.data.image_io import write_atomic
from depthkit.outputs.pictures import save_picture
from depthkit.rigid import make_pose
from depthkit.runtime.ortho.fix import NotFound, OrthoFix
from depthkit.trajectory import Trajectory, save_tum

if TYPE_CHECKING:
    from depthkit.data.orthophoto import Orthophoto

FIXES, GEOJSON, TRAJECTORY, PICTURE = (
    "fixes.csv",
    "path.geojson",
    "trajectory_tum.txt",
    "path.jpg",
)
COLUMNS = (
    *("stamp", "frame", "name", "latitude", "longitude", "altitude", "heading", "tilt"),
    *("sigma_east", "sigma_north", "sigma_altitude", "sigma_heading"),
    *("inliers", "matches", "evidence", "rival", "found_by", "reason"),
)
SHOWN = 1600
"""Longer side of the picture of the path, pixels."""
PATH, FRAME = (255, 60, 40), (70, 200, 255)  # RGB


@dataclass(frozen=True, eq=False)
class FrameFix:
    """One frame and what became of it."""

    index: int
    """In the source, counted from 0."""
    name: str
    time: float
    """Seconds."""
    found: OrthoFix | NotFound

    @property
    def fix(self) -> OrthoFix | None:
        """Its place, None where there is none."""
        return self.found if isinstance(self.found, OrthoFix) else None

    @property
    def reason(self) -> str:
        """Why it has no place; empty where it has one."""
        return self.found.reason if isinstance(self.found, NotFound) else ""


def write_all(folder: Path, photo: Orthophoto, fixes: list[FrameFix]) -> dict[str, str]:
    """Write every file of the output; return what lies where.

    Args:
        folder: where to.
        photo: the orthophoto.
        fixes: every frame that could be read, at least one.
    """
    write_atomic(folder / FIXES, table_text(fixes))
    write_atomic(folder / GEOJSON, json.dumps(geojson(fixes), indent=1) + "\n")
    save_picture(folder / PICTURE, draw_path(photo, fixes))
    files = {"fixes": FIXES, "geojson": GEOJSON, "picture": PICTURE}
    found = [(one.time, one.fix) for one in fixes if one.fix is not None]
    if not found:
        return files
    poses = [photo_pose(photo, fix) for _, fix in found]
    save_tum(folder / TRAJECTORY, Trajectory(np.array([t for t, _ in found]), np.stack(poses)))
    return files | {"trajectory": TRAJECTORY}


def photo_pose(photo: Orthophoto, fix: OrthoFix) -> np.ndarray:
    """Return T_world_cam: x east, y north, z up, metres from the orthophoto's middle. (4, 4)"""
    offset = photo.metres @ (fix.pixel - photo.middle)
    return make_pose(fix.R_ground_cam, [*offset, fix.altitude])


def table_text(fixes: list[FrameFix]) -> str:
    """Return a row a frame: its place and how sure it is, or the reason. Metres and degrees."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in fixes:
        table.writerow([f"{one.time:.9f}", one.index, one.name, *_row(one)])
    return text.getvalue()


def _row(one: FrameFix) -> list[str]:
    fix = one.fix
    if fix is None:
        return [""] * (len(COLUMNS) - 4) + [one.reason]
    east, north, up = np.sqrt(np.diag(fix.covariance)[:3])
    return [
        *(f"{fix.latitude:.9f}", f"{fix.longitude:.9f}", f"{fix.altitude:.3f}"),
        *(f"{fix.heading:.3f}", f"{fix.tilt:.3f}"),
        *(f"{value:.3g}" for value in (east, north, up, fix.sigma_heading)),
        *(str(fix.inliers), str(fix.matches), f"{fix.evidence:.1f}", f"{fix.rival:.1f}"),
        *(fix.found_by, ""),
    ]


def geojson(fixes: list[FrameFix]) -> dict[str, Any]:
    """Return the places as points and, from two on, as a line (RFC 7946: longitude first)."""
    points = [(one, one.fix) for one in fixes if one.fix is not None]
    features = [
        _feature(
            "Point",
            _position(fix),
            {
                "frame": one.index,
                "name": one.name,
                "stamp": one.time,
                "altitude_above_plane": round(fix.altitude, 3),
                "heading": round(fix.heading, 3),
                "sigma_position": round(fix.sigma_position, 3),
                "found_by": fix.found_by,
            },
        )
        for one, fix in points
    ]
    if len(points) > 1:
        line = [_position(fix) for _, fix in points]
        features.append(_feature("LineString", line, {"frames": len(points)}))
    return {"type": "FeatureCollection", "features": features}


def _position(fix: OrthoFix) -> list[float]:
    return [round(fix.longitude, 9), round(fix.latitude, 9)]


def _feature(kind: str, coordinates: list[Any], properties: dict[str, Any]) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def draw_path(photo: Orthophoto, fixes: list[FrameFix]) -> np.ndarray:
    """Draw path, headings and the outlines of frames over the orthophoto. (H, W, 3) uint8"""
    height, width = photo.rgb.shape[:2]
    scale = min(1.0, SHOWN / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = cv2.resize(photo.rgb, size, interpolation=cv2.INTER_AREA)
    found = [one.fix for one in fixes if one.fix is not None]
    outlines = [_shown(fix.corners, scale) for fix in found]
    cv2.polylines(image, outlines, True, FRAME, 1, cv2.LINE_AA)
    if found:
        path = _shown(np.stack([fix.pixel for fix in found]), scale)
        cv2.polylines(image, [path], False, PATH, 2, cv2.LINE_AA)
        for point, outline in zip(path, outlines, strict=True):
            ahead = (outline[0] + outline[1]) // 2  # middle of the frame's upper edge
            tip = point + (0.5 * (ahead - point)).astype(np.int32)
            cv2.arrowedLine(image, point.tolist(), tip.tolist(), PATH, 1, cv2.LINE_AA)
            cv2.circle(image, point.tolist(), 4, PATH, -1, cv2.LINE_AA)
    return image


def _shown(pixels: np.ndarray, scale: float) -> np.ndarray:
    limit = 1 << 14  # far corners of a tilted frame must not leave OpenCV's integers
    return np.clip(np.rint((pixels + 0.5) * scale - 0.5), -limit, limit).astype(np.int32)
