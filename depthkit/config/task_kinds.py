# SPDX-License-Identifier: Apache-2.0
"""What each task needs, reads and leaves behind: one row a task, to be read from top to bottom.

A new task is a row here and a branch in `depthkit/tasks/__init__.py`: neither the training loop nor
the exporter nor the command line knows a task by its name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from depthkit.config.ranges import require

if TYPE_CHECKING:
    from depthkit.config.train import TrainConfig

Task = Literal[
    "view_synthesis",
    "supervised_pair",
    "stabilized_pair",
    "supervised_mono",
    "shading",
    "flow",
    "similarity",
    "keypoints",
    "place",
    "coop",
]
Part = Literal["depth", "pose", "flow", "features", "place"]
Option = Literal[
    "random_shift",
    "flexible_shifts",
    "gradient_diffusion",
    "flow_init",
    "mask_net",
    "known_motion",
    "sweep_teacher",
]


# --- answers that depend on the configuration -----------------------------------------------------


def always(config: "TrainConfig") -> bool:
    """Return True."""
    return True


def never(config: "TrainConfig") -> bool:
    """Return False."""
    return False


def no_reason(config: "TrainConfig") -> str:
    """Return an empty text: nothing stands against it."""
    return ""


def _baselines_known(config: "TrainConfig") -> bool:
    return config.loss.baseline_weight > 0


def _all_scales_rebuilt(config: "TrainConfig") -> bool:
    return config.loss.scales == 4


def _all_scales_weighted(config: "TrainConfig") -> bool:
    return len(config.supervised.scale_weights) >= 5


def _sensor_teaches(config: "TrainConfig") -> bool:
    return not config.taught_by_sweep


def _sweep_teaches(config: "TrainConfig") -> str:
    return "supervised.teacher: sweep" if config.taught_by_sweep else ""


def _pair_distance(config: "TrainConfig") -> str:
    return "a pair needs its known distance"


def _measured_motion(config: "TrainConfig") -> str:
    stabilized = config.stabilized
    if config.loss.knows_motion:
        return _motion_known(config)
    measured = stabilized.orientation == "measured" or stabilized.measured_displacement
    return "measured motion is asked for (stabilized)" if measured else ""


def _motion_known(config: "TrainConfig") -> str:
    return f"loss.motion: {config.loss.motion}" if config.loss.knows_motion else ""


def _rotation_unseen(config: "TrainConfig") -> str:
    if config.stabilized.orientation == "network":
        return ""
    return (
        "saw frames turned alike by the measured orientation and predicts no rotation; "
        "train with stabilized.orientation: network"
    )


# --- keys that do not fit together in one task ----------------------------------------------------


def no_check(config: "TrainConfig") -> None:
    """Accept every configuration."""


def _check_stabilized(config: "TrainConfig") -> None:
    """Refuse terms that windows with a nominal baseline have none of, and lopsided windows."""
    loss, stabilized, shifts = config.loss, config.stabilized, config.data.shifts
    for name in ("explainability", "consistency", "gauge", "baseline"):
        require(
            getattr(loss, f"{name}_weight") == 0,
            f"loss.{name}_weight: not a part of task {config.task}; set it to 0",
        )
    require(
        not loss.auto_mask,
        f"loss.auto_mask: not a part of task {config.task}; set it to false",
    )
    require(
        not stabilized.measured_translation or stabilized.orientation == "measured",
        "stabilized.measured_translation: needs stabilized.orientation: measured",
    )
    for name, usual in (("orientation", "network"), ("measured_displacement", False)):
        require(
            not loss.knows_motion or getattr(stabilized, name) == usual,
            f"stabilized.{name}: loss.motion: {loss.motion} gives the whole motion; leave it out",
        )
    if stabilized.flexible_every == 0:
        return
    require(
        shifts != "auto" and sorted(shifts) == sorted(-shift for shift in shifts),
        "stabilized.flexible_every: chooses shifts of a symmetrical window, such as "
        f"data.shifts: [-3, 3]; got {shifts if shifts == 'auto' else list(shifts)}",
    )
    require(
        stabilized.flexible_longest >= len(shifts) // 2,
        f"stabilized.flexible_longest: {len(shifts) // 2} or more, a frame for each of the "
        f"sources on one side; got {stabilized.flexible_longest}",
    )


def _check_taught(config: "TrainConfig") -> None:
    require(
        not config.taught_by_sweep or config.loss.knows_motion,
        "supervised.teacher: sweep has the unit of the poses; set loss.motion: known or refined",
    )


def _check_whole_frames(config: "TrainConfig") -> None:
    require(
        config.flow.window is None,
        f"flow.window: task {config.task} compares flow of whole frames; set it to null",
    )


def _check_window(config: "TrainConfig") -> None:
    window, size = config.similarity.window, config.data.size
    require(
        window is None or (window[0] <= size[0] and window[1] <= size[1]),
        f"similarity.window: at most data.size, {size}; got {window}",
    )


def _check_views(config: "TrainConfig") -> None:
    window = config.keypoints.window
    require(
        all(side % 8 == 0 for side in window),
        f"keypoints.window: multiples of 8; got {list(window)}",
    )


def _check_place(config: "TrainConfig") -> None:
    require(
        config.optimizer.batch_size > config.run.devices,
        "optimizer.batch_size: two places a process at least: each is the other's wrong answer",
    )
    require(
        config.model.place_fusion == "early" or config.model.place_second != "none",
        "model.place_fusion: fuses a second modality; set model.place_second: edges or raster",
    )
    require(
        config.place.kept <= config.model.place_numbers,
        f"place.kept: at most model.place_numbers, {config.model.place_numbers}; "
        f"got {config.place.kept}",
    )
    require(
        config.place.kept == 0 or config.place.whitening != "none",
        "place.kept: keeps the most telling numbers; set place.whitening: pca or whitened",
    )


def _points_given(config: "TrainConfig") -> str:
    way = config.keypoints.way
    return f"keypoints.way: {way} learns given points" if way == "superpoint" else ""


# --- the rows -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """What the data must hold beside frames."""

    depth: Callable[["TrainConfig"], bool] = never
    """Whether there must be metric depth, in the sequences held out too."""
    metric_poses: Callable[["TrainConfig"], str] = no_reason
    """Why the poses must be metres; empty where they need not."""
    poses: Callable[["TrainConfig"], str] = no_reason
    """Why every sequence must have poses; empty where it need not."""
    points: Callable[["TrainConfig"], str] = no_reason
    """Why every sequence must list keypoints, those held out too; empty where it need not."""
    weighted_motion: bool = False
    """Known motions for loss.baseline_weight and loss.rotation_weight, where one is above 0."""
    one_focal_length: bool = False
    """The same focal length everywhere, pixels, unless the network takes K as input."""


@dataclass(frozen=True)
class TaskKind:
    """One task, for those who must not know it by name."""

    networks: tuple[str, ...]
    """Depth networks that it trains: values of `model.depth`, the usual one first."""
    reads: Literal["frame", "pair", "snippet", "places"]
    """Frames of a sample: the target alone, with one source, with any number of sources, or with
    another picture of the same place."""
    exported: Literal["mono", "pair", "flow", "features", "place"]
    """Manifest kind of the first of its parts."""
    parts: tuple[Part, ...]
    """Networks of its own that `export --part` writes, the usual one first."""
    next_command: str
    """What a user does with a finished `{run}`, after the word `depthkit`."""
    truth: Truth = Truth()
    """What the data must hold."""
    metric: Callable[["TrainConfig"], bool] = never
    """Whether what it learns is in metres."""
    uses_all_weights: Callable[["TrainConfig"], bool] = never
    """Whether every weight gets a gradient in every step: then processes need not search."""
    starts_from: tuple[str, ...] = ()
    """Networks that `model.init` takes from a run of another task, where that one has them too in
    its row: there they mean the same."""
    options: tuple[Option, ...] = ()
    """Parts of the configuration that are for this task and refused elsewhere."""
    pose_refused: Callable[["TrainConfig"], str] = no_reason
    """Why its pose network cannot be exported; empty where it can."""
    check: Callable[["TrainConfig"], None] = no_check
    """Refuses keys that do not fit together in this task."""


_ONE_FRAME = ("resnet18", "resnet50", "light", "dispnet")
_TWO_FRAMES = ("depthnet", "sweepnet")
_INFER = "infer {run} SOURCE --out DIR"

KINDS: dict[Task, TaskKind] = {
    "view_synthesis": TaskKind(
        networks=_ONE_FRAME,
        reads="snippet",
        exported="mono",
        parts=("depth", "pose"),
        next_command=_INFER,
        truth=Truth(poses=_motion_known, weighted_motion=True),
        metric=_baselines_known,
        uses_all_weights=_all_scales_rebuilt,
        starts_from=("depth_net", "pose_net"),
        options=("known_motion", "sweep_teacher"),
        check=_check_taught,
    ),
    "supervised_pair": TaskKind(
        networks=_TWO_FRAMES,
        reads="pair",
        exported="pair",
        parts=("depth",),
        next_command=_INFER,
        truth=Truth(depth=always, poses=_pair_distance, one_focal_length=True),
        metric=always,
        uses_all_weights=_all_scales_weighted,
        starts_from=("depth_net",),
        options=("random_shift",),
    ),
    "stabilized_pair": TaskKind(
        networks=_TWO_FRAMES,
        reads="snippet",
        exported="pair",
        parts=("depth", "pose"),
        next_command=_INFER,
        truth=Truth(poses=_measured_motion, weighted_motion=True, one_focal_length=True),
        metric=always,  # at the nominal baseline
        starts_from=("depth_net",),
        options=("flexible_shifts", "gradient_diffusion", "known_motion"),
        pose_refused=_rotation_unseen,
        check=_check_stabilized,
    ),
    "supervised_mono": TaskKind(
        networks=_ONE_FRAME,
        reads="frame",
        exported="mono",
        parts=("depth",),
        next_command=_INFER,
        truth=Truth(depth=_sensor_teaches, poses=_sweep_teaches, metric_poses=_sweep_teaches),
        metric=always,
        starts_from=("depth_net",),
        options=("sweep_teacher",),
    ),
    "shading": TaskKind(
        networks=("shading",),
        reads="frame",
        exported="mono",
        parts=("depth",),
        next_command=_INFER,
        truth=Truth(depth=always),
        metric=always,
        starts_from=("depth_net",),
    ),
    "flow": TaskKind(
        networks=_ONE_FRAME,  # it trains none of them
        reads="snippet",
        exported="flow",
        parts=("flow",),
        next_command="export {run} --part flow --out flow.onnx",
    ),
    "similarity": TaskKind(
        networks=_ONE_FRAME,  # it trains none of them
        reads="snippet",
        exported="features",
        parts=("features",),
        next_command="export {run} --part features --out similarity.onnx",
        check=_check_window,
    ),
    "keypoints": TaskKind(
        networks=_ONE_FRAME,  # it trains none of them
        reads="snippet",
        exported="features",
        parts=("features",),
        next_command="export {run} --part features --out keypoints.onnx",
        truth=Truth(points=_points_given),
        options=("sweep_teacher",),
        check=_check_views,
    ),
    "place": TaskKind(
        networks=_ONE_FRAME,  # it trains none of them
        reads="places",
        exported="place",
        parts=("place",),
        next_command="export {run} --part place --out place.onnx",
        check=_check_place,
    ),
    "coop": TaskKind(
        networks=_ONE_FRAME,
        reads="snippet",
        exported="mono",
        parts=("depth", "pose", "flow"),
        next_command=_INFER,
        truth=Truth(poses=_motion_known, weighted_motion=True),
        metric=_baselines_known,
        uses_all_weights=_all_scales_rebuilt,
        starts_from=("depth_net", "pose_net"),
        options=("flow_init", "mask_net", "known_motion"),
        check=_check_whole_frames,
    ),
}


def tasks_with(option: Option) -> str:
    """Name the tasks that an option is for, such as "task flow"; for errors."""
    names = [task for task, kind in KINDS.items() if option in kind.options]
    return f"task{'s' if len(names) > 1 else ''} {', '.join(names)}"
