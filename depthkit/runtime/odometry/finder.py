# SPDX-License-Identifier: Apache-2.0
"""How the odometry recognises what it saw before: features, places, and a saved map."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from depthkit.multiview.features import Detector, Sift
from depthkit.runtime.odometry.loop_records import LoopConfig
from depthkit.runtime.odometry.places import Describe
from depthkit.runtime.odometry.saved_map import SavedMap, check_same_camera, check_same_kind
from depthkit.runtime.odometry.saved_map_files import load_map
from depthkit.runtime.odometry.saved_map_note import is_new

MOST_KEYFRAMES = 2000
"""Number of keyframes kept where a map is made: 130 MB with SIFT, an hour of walking."""


@dataclass(frozen=True, eq=False)
class Finder:
    """Detector, descriptor of places, and the map to begin with."""

    detector: Detector = field(default_factory=Sift)
    """Finds the features of keyframes, of loops and where tracks are lost."""
    describe: Describe | None = None
    """Learnt descriptor by which places are retrieved; VLAD of the features if None."""
    place: str = ""
    """Name of that descriptor."""
    folder: Path | None = None
    """Folder of the map; None where none is kept."""
    saved: SavedMap | None = None
    """Map of earlier sessions; None where there is none yet."""

    @property
    def is_mapping(self) -> bool:
        """Whether a map is made or used, so that keyframes are kept as for loops."""
        return self.folder is not None or self.saved is not None

    @property
    def loops(self) -> LoopConfig:
        """Settings of the loop closer."""
        return LoopConfig(keep=MOST_KEYFRAMES) if self.is_mapping else LoopConfig()

    def check(self, size: tuple[int, int], K: np.ndarray) -> None:
        """Refuse frames of another camera than the map's.

        Args:
            size: (H, W) of the frames.
            K: their intrinsics, pixels. (3, 3)

        Raises:
            DataError: size or intrinsics differ.
        """
        if self.saved is not None:
            check_same_camera(self.saved, size, K, f"{self.folder or 'the map'}")


def open_finder(
    *,
    features: Path | None = None,
    places: Path | None = None,
    map: Path | None = None,
    threads: int = 1,
) -> Finder:
    """Open what recognises places.

    Args:
        features: ONNX file of kind `features` with scores; None for SIFT.
        places: ONNX file of kind `place`; None for VLAD of the features.
        map: folder of a map; one that does not exist yet is a new map.
        threads: CPU threads of the networks.

    Raises:
        EngineError: a model that cannot be used.
        DataError: a folder that is no map, a damaged one, or one of other descriptors.
    """
    detector, describe, place = _detector(features, threads), None, ""
    if places is not None:
        from depthkit.runtime.network.place_engine import PlaceEngine

        engine = PlaceEngine.open(places)
        describe, place = engine.describe, engine.name
    saved = None
    if map is not None and not is_new(map):
        saved = load_map(map)
        check_same_kind(
            saved, detector=detector.name, width=detector.width, place=place, where=str(map)
        )
    return Finder(detector, describe, place, map, saved)


def _detector(features: Path | None, threads: int) -> Detector:
    if features is None:
        return Sift()
    from depthkit.runtime.network.keypoint_engine import KeypointEngine

    return KeypointEngine.open_detector(features, threads=threads)
