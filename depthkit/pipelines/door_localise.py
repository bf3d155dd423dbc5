# SPDX-License-Identifier: Apache-2.0
"""`depthkit.localise`: frames of a camera that looks down, found in an orthophoto."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.pipelines.localise.options import LocaliseSummary
    from depthkit.runtime.config import Backend, Precision


def localise(
    source: str | Path,
    ortho: str | Path,
    out: str | Path,
    *,
    crs: str = "",
    features: str | Path | None = None,
    places: str | Path | None = None,
    height: float | None = None,
    tilt_sigma: float = 5.0,
    camera: str | Path | None = None,
    fov: float | None = None,
    every: int = 1,
    topic: str = "",
    bits: Literal[10, 12, 16] = 16,
    backend: Backend = "auto",
    threads: int | None = None,
    precision: Precision = "default",
    force: bool = False,
    watcher: Watcher = SILENT,
) -> LocaliseSummary:
    """Find frames of a camera that looks down in a georeferenced orthophoto.

    Args:
        source: sequence folder, folder of images, video, ROS bag or one sequence of a data set.
        ortho: GeoTIFF, or a picture with a world file.
        out: folder to write; it appears when all of it is there. A row a frame is out/fixes.csv,
            poses T_world_cam (x east, y north, z up, metres from the orthophoto's middle) are
            out/trajectory_tum.txt.
        crs: coordinate system of the orthophoto, EPSG:N; empty for what its files say.
        features: model of kind features that finds keypoints; None for SIFT.
        places: model of kind place that describes tiles; None for VLAD of the features.
        height: of the camera above the ground, right within a third, metres; None: unknown.
        tilt_sigma: standard deviation of the optical axis from straight down, degrees.
        camera: calibration file; a sequence has its own.
        fov: without a calibration: horizontal field of view of a pinhole, degrees.
        every: take every n-th frame.
        topic: bags: pictures to take; empty for the only ones.
        bits: bags: bits in use of a 16-bit pixel.
        backend: runtime of the models.
        threads: processor cores; OMP_NUM_THREADS, else all usable ones when None.
        precision: numbers the models compute in.
        force: replace an earlier output.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: nothing to read, no K, no georeference, frames or an orthophoto too small, or an
            output that exists.
        CheckpointError: there is no such model.
        EngineError: a model does not run here, or is of another kind.
    """
    from depthkit.pipelines.localise.options import LocaliseOptions
    from depthkit.pipelines.localise.run import localise as work
    from depthkit.pipelines.models import engine_options

    options = LocaliseOptions(
        source=Path(source),
        ortho=Path(ortho),
        out=Path(out),
        crs=crs,
        features=_path(features),
        places=_path(places),
        height=height,
        tilt_sigma=tilt_sigma,
        camera=_path(camera),
        fov=fov,
        every=every,
        topic=topic,
        bits=bits,
        engine=engine_options(backend, threads, precision),
        force=force,
    )
    return work(options, watcher)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
