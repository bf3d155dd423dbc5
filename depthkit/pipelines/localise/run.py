# SPDX-License-Identifier: Apache-2.0
"""Frames of a source looked for in an orthophoto, one by one, and what was found written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from depthkit.errors import DataError, EngineError
from depthkit.pipelines.localise.options import LocaliseOptions, LocaliseSummary
from depthkit.pipelines.localise.outputs import FIXES, FrameFix, write_all
from depthkit.pipelines.output_folder import SUMMARY, check_replaceable, growing
from depthkit.pipelines.reading import readable
from depthkit.pipelines.records import save_record
from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.data.orthophoto import Orthophoto
    from depthkit.data.stream import FrameStream
    from depthkit.multiview.features import Detector
    from depthkit.runtime.ortho.localiser import OrthoLocaliser
    from depthkit.runtime.ortho.tile_index import Describe

FLAT = (
    "the ground is taken for a plane: altitudes are above it, and relief moves the position by its "
    "height times the slant of the view"
)


@dataclass(frozen=True)
class _Means:
    """What finds features and describes tiles."""

    detector: Detector
    describe: Describe | None
    places: str


def localise(options: LocaliseOptions, watcher: Watcher = SILENT) -> LocaliseSummary:
    """Look for all frames and write what was found, or nothing.

    Args:
        options: what to read, what is known, what to write.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: nothing to read, no K, an orthophoto without a georeference or smaller than a
            frame, frames that are too small, or an output that exists.
        CheckpointError, EngineError: there is no such model, or it does not run here.
    """
    from depthkit.data.calibrated_stream import open_calibrated
    from depthkit.data.orthophoto import open_orthophoto

    check_replaceable(options.out, FIXES, force=options.force)
    photo = open_orthophoto(options.ortho, crs=options.crs)
    stream = open_calibrated(
        options.source,
        camera=options.camera,
        fov=options.fov,
        every=options.every,
        topic=options.topic,
        bits=options.bits,
    )
    notes = (*photo.notes, *stream.notes, FLAT)
    for note in notes:
        watcher.note(note)
    with _means(options, watcher) as means, growing(options.out, force=options.force) as folder:
        # 1. The orthophoto.
        started = perf_counter()
        localiser = _index(options, photo, stream, means)
        indexed = perf_counter() - started
        # 2. The frames.
        skipped: list[str] = []
        started = perf_counter()
        fixes = list(_look(stream, localiser, skipped, watcher))
        if not fixes:
            raise DataError(f"{options.source}: holds no readable frame")
        milliseconds = 1000 * (perf_counter() - started) / len(fixes)
        # 3. The folder.
        files = write_all(folder, photo, fixes) | {"summary": SUMMARY}
        summary = _summarise(options, photo, localiser, means, fixes, tuple(skipped), files)
        summary = _with_times(summary, indexed, milliseconds, notes)
        save_record(summary, folder / SUMMARY)
    return summary


@contextmanager
def _means(options: LocaliseOptions, watcher: Watcher) -> Iterator[_Means]:
    """Open the models that are named; SIFT and VLAD of it where there is none."""
    from depthkit.multiview.features import Sift
    from depthkit.pipelines.models import as_onnx
    from depthkit.runtime.network.keypoint_engine import KeypointEngine

    with ExitStack() as stack:
        detector: Detector = Sift()
        describe, places = None, "VLAD of the features"
        if options.features is not None:
            file = stack.enter_context(
                as_onnx(options.features, part="features", note=watcher.note)
            )
            opened = KeypointEngine.open(file, **vars(options.engine))
            detector = stack.enter_context(opened)
        if options.places is not None:
            describe, places = _open_places(options.places, options, stack)
        yield _Means(detector, describe, places)


def _open_places(model: Path, options: LocaliseOptions, stack: ExitStack) -> tuple[Describe, str]:
    """Open a model of kind place; return its descriptor of a picture, and its name."""
    from depthkit.pipelines.models import open_model

    engine = stack.enter_context(open_model(model, **vars(options.engine)))
    describe = getattr(engine, "describe", None)
    kind: str = engine.manifest.kind
    if kind != "place" or describe is None:
        raise EngineError(f"{model}: expected a network of kind place, got {kind}")
    return describe, engine.manifest.network


def _index(
    options: LocaliseOptions, photo: Orthophoto, stream: FrameStream, means: _Means
) -> OrthoLocaliser:
    from depthkit.runtime.ortho.config import OrthoConfig
    from depthkit.runtime.ortho.localiser import OrthoLocaliser

    if stream.camera is None:
        raise DataError(f"{options.source}: no K is known; give --camera FILE or --fov DEG")
    return OrthoLocaliser(
        photo.rgb,
        photo.georeference,
        K=stream.camera.K,
        size=stream.camera.size,
        valid=photo.valid,
        config=OrthoConfig(height=options.height or 0.0, tilt_sigma=options.tilt_sigma),
        detector=means.detector,
        describe=means.describe,
    )


def _look(
    stream: FrameStream, localiser: OrthoLocaliser, skipped: list[str], watcher: Watcher
) -> Iterator[FrameFix]:
    for frame, rgb in readable(stream, "localise", skipped, watcher):
        found = localiser.process(rgb, valid=stream.covered)
        yield FrameFix(frame.index, frame.name, frame.time, found)


def _summarise(
    options: LocaliseOptions,
    photo: Orthophoto,
    localiser: OrthoLocaliser,
    means: _Means,
    fixes: list[FrameFix],
    skipped: tuple[str, ...],
    files: dict[str, str],
) -> LocaliseSummary:
    found = [one.fix for one in fixes if one.fix is not None]
    reasons = Counter(one.reason.partition(":")[0] for one in fixes if one.reason)

    def middle(values: list[float]) -> float | None:
        return float(np.median(values)) if values else None

    return LocaliseSummary(
        source=str(options.source),
        ortho=str(options.ortho),
        out=str(options.out),
        crs=photo.georeference.crs,
        ground_resolution=localiser.resolution,
        tiles=localiser.tiles,
        features=means.detector.name,
        places=means.places,
        frames=len(fixes),
        skipped=skipped,
        found=len(found),
        coverage=len(found) / len(fixes),
        found_by=dict(Counter(one.found_by for one in found)),
        not_found=dict(reasons),
        sigma_position=middle([one.sigma_position for one in found]),
        sigma_altitude=middle([one.sigma_altitude for one in found]),
        sigma_heading=middle([one.sigma_heading for one in found]),
        altitude=middle([one.altitude for one in found]),
        origin=photo.origin,
        index_seconds=0.0,
        milliseconds=0.0,
        notes=(),
        files=files,
    )


def _with_times(
    summary: LocaliseSummary, indexed: float, milliseconds: float, notes: tuple[str, ...]
) -> LocaliseSummary:
    from dataclasses import replace

    return replace(
        summary,
        index_seconds=round(indexed, 3),
        milliseconds=round(milliseconds, 3),
        notes=notes,
    )
