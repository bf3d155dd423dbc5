# SPDX-License-Identifier: Apache-2.0
"""Flow maps of a folder by name, with the two frames and what else is known, where they lie there.

Layouts: a sequence folder (`flow/`, `occluded/`, `moving/`), a data set of them (its test
sequences), KITTI 2012 and 2015 (`flow_occ/`, `flow_noc/`, `obj_map/`), Middlebury
(`SCENE/flow10.flo` with `frame10.png`, `frame11.png`), or plain .flo and .png files, in the folder,
its `flow/`, or one folder deeper. A map in a folder FOLDER has the name FOLDER/NAME.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from depthkit.data.flow_files import FLOW_SUFFIXES, read_flow
from depthkit.data.image_io import list_images, natural_key, read_mask, read_rgb
from depthkit.data.sequence import read_split
from depthkit.data.truth import FrameTruth
from depthkit.errors import DataError

_KITTI_FRAMES = ("image_2", "colored_0", "image_0")  # 2015; 2012 in colour; 2012 in grey
_MIDDLEBURY = "flow10"


@dataclass(frozen=True)
class FlowPair:
    """One flow map and what lies beside it; None where it does not."""

    name: str
    flow: Path
    first: Path | None = None
    """The frame whose pixels flow."""
    second: Path | None = None
    """The frame they flow to."""
    hidden: Path | None = None
    """Mask of pixels that something hides in the second frame."""
    seen: Path | None = None
    """Flow of the pixels seen in both frames alone (KITTI)."""
    moving: Path | None = None
    """Mask of bodies that move by themselves."""
    valid: Path | None = None
    """Mask of pixels that are image at all."""

    def read_frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Read both frames. (H, W, 3) uint8 each"""
        if self.first is None or self.second is None:
            raise DataError(f"{self.flow}: the frames of this flow are not beside it")
        return read_rgb(self.first), read_rgb(self.second)

    def read_flow(self) -> np.ndarray:
        """Read the flow alone; NaN where unknown. (H, W, 2)"""
        return read_flow(self.flow)

    def read_truth(self) -> FrameTruth:
        """Read the flow and what else is known; occluded is what has no partner: hidden or outside
        the second frame."""
        flow = self.read_flow()
        size = flow.shape[:2]
        hidden, moving, valid = (_mask(p, size) for p in (self.hidden, self.moving, self.valid))
        if valid is not None:
            flow = np.where(valid[..., None], flow, np.float32(np.nan))
        occluded = None if hidden is None else hidden | leaves_picture(flow)
        if self.seen is not None:
            occluded = np.isnan(_fitting(read_flow(self.seen)[..., 0], size, self.seen))
        return FrameTruth(flow, occluded, moving=moving)


def find_flow_pairs(root: Path | str) -> dict[str, FlowPair]:
    """Find the flow maps of a folder, in natural order of their names.

    Raises:
        DataError: no such folder, no maps in it, or one name twice.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file; name its folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}")
    if root.name == "flow" and (root.resolve().parent / "camera.yaml").exists():
        root = root.resolve().parent  # SEQUENCE/flow was named: its masks lie above
    pairs = _pairs_of(root) or [
        _inside(folder.name, pair) for folder in _folders(root) for pair in _pairs_of(folder)
    ]
    found: dict[str, FlowPair] = {}
    for pair in sorted(pairs, key=lambda pair: natural_key(pair.name)):
        if pair.name in found:
            raise DataError(f"{pair.flow}: {pair.name} is there twice; keep one of the files")
        found[pair.name] = pair
    if not found:
        raise DataError(f"{root}: holds no flow ({' or '.join(FLOW_SUFFIXES)})")
    return found


def leaves_picture(flow: np.ndarray) -> np.ndarray:
    """Tell which pixels flow out of the picture: edge pixels are whole, unknown flow stays.

    Args:
        flow: pixels (u, v). (H, W, 2)

    Returns:
        (H, W) bool
    """
    height, width = flow.shape[:2]
    v, u = np.mgrid[:height, :width]
    u, v = u + flow[..., 0], v + flow[..., 1]
    return (u <= -0.5) | (u >= width - 0.5) | (v <= -0.5) | (v >= height - 0.5)


def _pairs_of(root: Path) -> list[FlowPair]:
    """List what one folder holds itself, whatever its layout."""
    if (root / "flow_occ").is_dir():
        return _kitti(root)
    if (root / "camera.yaml").exists():
        return _sequence(root) if (root / "flow").is_dir() else []
    files = _flow_files(root) or _flow_files(root / "flow")
    if [file.stem for file in files] == [_MIDDLEBURY]:
        return [_middlebury(root, files[0])]
    return [FlowPair(file.stem, file) for file in files]


def _folders(root: Path) -> list[Path]:
    """List the folders in a folder: of a data set those it tests on, or validates, or all."""
    split = read_split(root)
    for part in ("test", "val"):
        if split[part]:
            return [root / name for name in split[part]]
    return [path for path in root.iterdir() if path.is_dir() and path.name[0] != "."]


def _inside(folder: str, pair: FlowPair) -> FlowPair:
    """Put the folder's name before that of a map; Middlebury's map has no other name."""
    name = folder if pair.name == _MIDDLEBURY else f"{folder}/{pair.name}"
    return replace(pair, name=name)


def _sequence(root: Path) -> list[FlowPair]:
    frames = list_images(root / "frames") if (root / "frames").is_dir() else []
    first = {frame.stem: frame for frame in frames[:-1]}
    second = {frame.stem: after for frame, after in zip(frames, frames[1:], strict=False)}
    return [
        FlowPair(
            file.stem,
            file,
            first.get(file.stem),
            second.get(file.stem),
            hidden=_existing(root / "occluded" / file.name),
            moving=_existing(root / "moving" / file.name),
            valid=_existing(root / "valid.png"),
        )
        for file in _flow_files(root / "flow")
    ]


def _kitti(root: Path) -> list[FlowPair]:
    """List KITTI's pairs: frames 000000_10 and 000000_11, flow from the first to the second."""
    images = next((root / name for name in _KITTI_FRAMES if (root / name).is_dir()), root)
    return [
        FlowPair(
            file.stem,
            file,
            _existing(images / file.name),
            _existing(images / file.name.replace("_10.", "_11.")),
            seen=_existing(root / "flow_noc" / file.name),
            moving=_existing(root / "obj_map" / file.name),
        )
        for file in _flow_files(root / "flow_occ")
    ]


def _middlebury(root: Path, flow: Path) -> FlowPair:
    """Find the frames beside the flow, or in the other of Middlebury's two folders."""
    places = (root, root.parent.parent / "other-data" / root.name)
    images = next((place for place in places if (place / "frame10.png").exists()), root)
    first, second = (_existing(images / f"frame{number}.png") for number in (10, 11))
    return FlowPair(_MIDDLEBURY, flow, first, second)


def _flow_files(folder: Path) -> list[Path]:
    """List flow by suffix; in a folder with .flo the .png are pictures."""
    if not folder.is_dir():
        return []
    files = [path for path in folder.iterdir() if path.name[0] != "."]
    flo, png = ([p for p in files if p.suffix == suffix] for suffix in FLOW_SUFFIXES)
    return flo or png


def _mask(path: Path | None, size: tuple[int, ...]) -> np.ndarray | None:
    return None if path is None else _fitting(read_mask(path), size, path)


def _fitting(values: np.ndarray, size: tuple[int, ...], path: Path) -> np.ndarray:
    """Refuse a map of another size than the flow's. (H, W)"""
    if values.shape != size:
        raise DataError(f"{path}: {values.shape} pixels, the flow beside it has {size}")
    return values


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None
