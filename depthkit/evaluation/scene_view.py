# SPDX-License-Identifier: Apache-2.0
"""A 3-D view inside an HTML report: surface and camera path, drawn by the browser's WebGL 2.

Everything lies in the page: nothing is loaded. Positions are whole numbers of 16 bits within the
box around the surface, so that a page stays small.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.evaluation.scene_mesh import SceneMesh, thinned

MOST_VERTICES = 60_000
"""Vertices of a surface in a page: about 3 MB of it."""
MOST_POSES = 400
"""Poses of a path in a page."""
STEPS = 65535
"""Whole numbers along each side of the box."""
BACKGROUND = (0.93, 0.94, 0.95)
_SCRIPT = Path(__file__).with_name("scene_view.js")


@dataclass(frozen=True, eq=False)
class ScenePath:
    """The path of a camera."""

    T_world_cam: np.ndarray
    """Poses in order. (N, 4, 4)"""
    begins: np.ndarray
    """Poses that no line leads to: the first, and those after a gap. (N,) bool"""
    K: np.ndarray
    """Intrinsics, pixels. (3, 3)"""
    size: tuple[int, int]
    """(H, W) of the pictures."""


def scene_view(mesh: SceneMesh, path: ScenePath) -> str:
    """Return the HTML of a view: canvas, buttons, data and script.

    Args:
        mesh: surface in world axes, y down; it is thinned where it is large.
        path: of the camera in the same world.
    """
    data = json.dumps(scene_data(thinned(mesh, MOST_VERTICES), path), separators=(",", ":"))
    script = _SCRIPT.read_text(encoding="utf-8")
    return (
        f"<style>{_STYLE}</style><div class='scene-view'>{_CONTROLS}</div>"
        f"<script type='application/json'>{data}</script>"
        f"<script>{script}</script>"
    )


def scene_data(mesh: SceneMesh, path: ScenePath) -> dict[str, Any]:
    """Return what the script reads.

    Args:
        mesh: at least one vertex.
        path: at least one pose.
    """
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    span = np.maximum(high - low, 1e-9)
    steps = np.rint((mesh.vertices - low) / span * STEPS).astype("<u2")
    middle = np.percentile(mesh.vertices, (3, 97), axis=0)
    extent = float(np.linalg.norm(middle[1] - middle[0])) or 1.0
    forward = path.T_world_cam[:, :3, 2].mean(axis=0)
    height, width = path.size
    return {
        "positions": _base64(steps),
        "colours": _base64(mesh.colours),
        "faces": _base64(mesh.faces.astype("<u4")),
        "count": len(mesh.vertices),
        "triangles": len(mesh.faces),
        "low": _rounded(low),
        "span": _rounded(span),
        "centre": _rounded(middle.mean(axis=0)),
        "extent": extent,
        "cell": mesh.cell,
        "yaw": float(np.arctan2(forward[0], forward[2])),
        "view": [0.5 * width / float(path.K[0, 0]), 0.5 * height / float(path.K[1, 1])],
        "background": BACKGROUND,
        "path": _poses(path),
    }


def _poses(path: ScenePath) -> list[list[Any]]:
    """Return centre, right, down, forward of some poses, and whether a line leads there."""
    count = len(path.T_world_cam)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_POSES)).astype(int))
    starts = np.cumsum(path.begins)  # number of the stretch
    rows = []
    for before, i in zip([-1, *chosen[:-1]], chosen, strict=True):
        T = path.T_world_cam[i]
        columns = [_rounded(T[:3, k]) for k in (3, 0, 1, 2)]
        rows.append([*columns, int(before < 0 or starts[before] != starts[i])])
    return rows


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


_CONTROLS = """
<canvas></canvas>
<p class='scene-missing' hidden>This browser has no WebGL 2, so there is no 3-D view here: see the
view from above below, or open mesh.glb in another program.</p>
<div class='scene-bar'>
<button type='button' name='reset'>start again</button>
<button type='button' name='above'>from above</button>
<button type='button' name='points'>surface / points</button>
<button type='button' name='plain'>colours / shape</button>
<button type='button' name='path'>path</button>
<label>ride along the path <input type='range' min='-1' max='0' value='-1'></label>
</div>
<p class='scene-hint'>Drag turns, right button or shift moves, wheel zooms. The path runs from blue
to orange. Walls are drawn from the side that the camera saw.</p>
"""

_STYLE = """
.scene-view canvas { width: 100%; height: 32rem; display: block; border-radius: 6px;
  touch-action: none; cursor: grab; }
.scene-bar { display: flex; flex-wrap: wrap; gap: .5rem; margin: .6rem 0 .3rem; }
.scene-bar button { font: inherit; font-size: .9rem; padding: .25rem .7rem; color: var(--ink);
  background: var(--page); border: 1px solid var(--line); border-radius: 5px; cursor: pointer; }
.scene-bar label { font-size: .9rem; color: var(--soft); display: flex; align-items: center;
  gap: .4rem; }
.scene-hint { color: var(--soft); font-size: .88rem; margin: 0; }
"""
