# SPDX-License-Identifier: Apache-2.0
"""What only synthetic worlds know of a frame, as files of a sequence folder.

`flow/` from frame i to i+1 (KITTI's encoding, see `flow_files.py`), `occluded/` hidden in frame
i+1, `ids/` the body seen, `moving/` whether that body moves. The last frame has neither flow nor
occlusion.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthkit.data.flow_files import encode_kitti, read_flow
from depthkit.data.folder import make_folder
from depthkit.data.image_io import encode, read_mask, read_uint16, write_atomic


@dataclass(frozen=True)
class FrameTruth:
    """Truth beside depth and pose; None where missing."""

    flow: np.ndarray | None = None
    """To the next frame, pixels (u, v); NaN where undefined. (H, W, 2) float32"""
    occluded: np.ndarray | None = None
    """Hidden by something in the next frame. (H, W) bool"""
    ids: np.ndarray | None = None
    """Body seen, 65535 for none. (H, W) uint16"""
    moving: np.ndarray | None = None
    """The body seen moves by itself. (H, W) bool"""


def write_truth(folder: Path, name: str, truth: FrameTruth) -> None:
    """Write the maps of a frame below a sequence folder.

    Args:
        folder: the sequence folder.
        name: of the frame, such as 000012.
        truth: what is known.
    """
    pictures = {
        "flow": None if truth.flow is None else encode_kitti(truth.flow),
        "occluded": None if truth.occluded is None else truth.occluded.astype(np.uint8) * 255,
        "ids": truth.ids,
        "moving": None if truth.moving is None else truth.moving.astype(np.uint8) * 255,
    }
    for kind, picture in pictures.items():
        if picture is not None:
            make_folder(folder / kind)
            write_atomic(folder / kind / f"{name}.png", encode(picture, "png"))


def read_truth(folder: Path, name: str) -> FrameTruth:
    """Read the maps of a frame that are there; see `write_truth`."""

    def file(kind: str) -> Path | None:
        path = folder / kind / f"{name}.png"
        return path if path.exists() else None

    flow, occluded, ids, moving = (file(kind) for kind in ("flow", "occluded", "ids", "moving"))
    return FrameTruth(
        None if flow is None else read_flow(flow),
        None if occluded is None else read_mask(occluded),
        None if ids is None else read_uint16(ids),
        None if moving is None else read_mask(moving),
    )
