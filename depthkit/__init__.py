# SPDX-License-Identifier: Apache-2.0
"""Depth and motion from ordinary video. Importing this loads neither torch, OpenCV nor numpy.

    import depthkit

    depthkit.prepare("clip.mp4", "data", fov=70)      # video -> sequence folder
    depthkit.inspect("data")                          # can it teach depth, and with which shifts?
    depthkit.odometry("data/clip", "path", speed=2.0) # camera trajectory and sparse points
    depthkit.reconstruct("clip.mp4", "room")          # video -> path, depth, surface, report
    depthkit.recordings("reconstruct", "videos", "rooms", workers=4)  # many, restartable
    depthkit.infer("shading-colon", "data/clip", "out")
    depthkit.evaluate.depth("out", "data/clip", align="median")
    with depthkit.open_model("sweepnet-stillbox") as engine: ...

Each name is loaded when it is first used. docs/python.md shows them at work.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from depthkit.errors import DepthkitError

if TYPE_CHECKING:
    from depthkit.pipelines import evaluate
    from depthkit.pipelines.adopt import Adopted
    from depthkit.pipelines.door import infer, inspect, match, odometry, open_sequence, prepare
    from depthkit.pipelines.door_adopt import adopt
    from depthkit.pipelines.door_localise import localise
    from depthkit.pipelines.door_reconstruct import reconstruct
    from depthkit.pipelines.door_recordings import recordings
    from depthkit.pipelines.infer.summary import InferSummary
    from depthkit.pipelines.inspect import InspectSummary
    from depthkit.pipelines.localise.options import LocaliseSummary
    from depthkit.pipelines.match import MatchSummary
    from depthkit.pipelines.models import open_model
    from depthkit.pipelines.odometry.summary import OdometrySummary
    from depthkit.pipelines.prepare import PrepareSummary
    from depthkit.pipelines.reconstruct.summary import ReconstructSummary
    from depthkit.pipelines.recordings.overview import RecordingsSummary
    from depthkit.pipelines.records import load_record, save_record
    from depthkit.pipelines.score.depth_maps import DepthEvaluation
    from depthkit.pipelines.score.flow_maps import FlowEvaluation
    from depthkit.pipelines.score.model import ModelEvaluation
    from depthkit.pipelines.score.trajectories import OdometryEvaluation
    from depthkit.watcher import Watcher

__version__ = "0.1.0"

__all__ = [
    "Adopted",
    "DepthEvaluation",
    "DepthkitError",
    "FlowEvaluation",
    "InferSummary",
    "InspectSummary",
    "LocaliseSummary",
    "MatchSummary",
    "ModelEvaluation",
    "OdometryEvaluation",
    "OdometrySummary",
    "PrepareSummary",
    "ReconstructSummary",
    "RecordingsSummary",
    "Watcher",
    "adopt",
    "evaluate",
    "infer",
    "inspect",
    "load_record",
    "localise",
    "match",
    "odometry",
    "open_model",
    "open_sequence",
    "prepare",
    "reconstruct",
    "recordings",
    "save_record",
]

_HOMES = {
    "Adopted": "pipelines.adopt",
    "DepthEvaluation": "pipelines.score.depth_maps",
    "FlowEvaluation": "pipelines.score.flow_maps",
    "InferSummary": "pipelines.infer.summary",
    "InspectSummary": "pipelines.inspect",
    "LocaliseSummary": "pipelines.localise.options",
    "MatchSummary": "pipelines.match",
    "ModelEvaluation": "pipelines.score.model",
    "OdometryEvaluation": "pipelines.score.trajectories",
    "OdometrySummary": "pipelines.odometry.summary",
    "PrepareSummary": "pipelines.prepare",
    "ReconstructSummary": "pipelines.reconstruct.summary",
    "RecordingsSummary": "pipelines.recordings.overview",
    "Watcher": "watcher",
    "adopt": "pipelines.door_adopt",
    "infer": "pipelines.door",
    "inspect": "pipelines.door",
    "load_record": "pipelines.records",
    "localise": "pipelines.door_localise",
    "match": "pipelines.door",
    "odometry": "pipelines.door",
    "open_model": "pipelines.models",
    "open_sequence": "pipelines.door",
    "prepare": "pipelines.door",
    "reconstruct": "pipelines.door_reconstruct",
    "recordings": "pipelines.door_recordings",
    "save_record": "pipelines.records",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module [PEP 562]."""
    if name == "evaluate":
        return import_module("depthkit.pipelines.evaluate")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
