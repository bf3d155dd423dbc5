# SPDX-License-Identifier: Apache-2.0
"""What is exported: a trained network between uint8 camera images and the numbers a robot wants.

Change of type, range and layout, the last enlarging and the limits are inside; whatever only
training needs is not, so nothing can be forgotten or done twice on the robot.
"""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from depthkit.config import TrainConfig
from depthkit.config.task_kinds import Part
from depthkit.errors import EngineError
from depthkit.geometry.warp import resize
from depthkit.models.depth_net import FINEST, STRIDE
from depthkit.models.flow_net import STRIDE as FLOW_STRIDE
from depthkit.models.keypoint_net import CELL, KeypointNet, keypoint_probability
from depthkit.models.pose_net import FlowPose
from depthkit.models.shading_net import ShadingNet
from depthkit.models.sweep_net import SweepNet
from depthkit.multiview.plane_sweep import plane_inverse_depths
from depthkit.runtime.network.manifest import Kind
from depthkit.tasks.loaded import LoadedTask

LEAST_DEPTH = 1e-2  # metres at D0; ELU + 1 rounds to 0, and 1 / depth must stay finite
LEAST_SIDE = {
    "pair": 32,
    "mono": 33,
    "pose": 33,
    "flow": 33,
    "features": 33,
}  # pixels; the coarsest maps need this much


@dataclass(frozen=True)
class Graph:
    """A module to export, and the names of its inputs and outputs."""

    module: nn.Module
    kind: Kind
    network: str
    """In the training's configuration."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic: bool
    """H and W may differ from those of the training."""
    flow: Literal["dis_medium"] | None = None
    stride: int = 1
    """Features: pixels from one descriptor to the next."""
    planes: tuple[float, ...] = ()
    """Inverse depths of the input `volume`, 1 / metres at D0."""


class MonoGraph(nn.Module):
    """Depth of a frame: 1 / the finest inverse depth."""

    def __init__(self, net: nn.Module, *, stride: int) -> None:
        """Wrap a network; frames are filled up to a multiple of stride, and the map cut back."""
        super().__init__()
        self.net, self.stride = net, stride

    def forward(self, frame: Tensor) -> Tensor:
        """Return depth, metres or relative. (N, H, W, 3) uint8 -> (N, H, W)"""
        inverse_depth = self.net(to_image(frame, self.stride))[0]
        if self.stride > 1:
            inverse_depth = inverse_depth[..., : frame.shape[1], : frame.shape[2]]
        return (1 / inverse_depth)[:, 0]


class PairGraph(nn.Module):
    """Depth of the current frame at the nominal baseline, at its own size."""

    def __init__(self, net: nn.Module, *, max_depth: float) -> None:
        """Wrap a network; max_depth: farthest depth it can predict, metres at D0."""
        super().__init__()
        self.net, self.max_depth = net, max_depth

    def forward(self, previous: Tensor, current: Tensor, *volume: Tensor) -> Tensor:
        """Return metres at D0, the previous frame turned before.

        Frames are (N, H, W, 3), the volume of a network that takes the direction of motion is
        (N, P, H, W), all uint8. -> (N, H, W)
        """
        height, width = current.shape[1], current.shape[2]
        frames = (to_image(frame, STRIDE) for frame in (previous, current))
        depth = self.net(*frames, *(fill_up(v, STRIDE, axes=(2, 3)) for v in volume))[0]
        rows, columns = (height + FINEST - 1) // FINEST, (width + FINEST - 1) // FINEST
        depth = depth[..., :rows, :columns]  # the pixels of the image, some in part
        # In 1 / depth, or what is far would grow over the edges of what is near.
        inverse_depth = 1 / depth.clamp(min=LEAST_DEPTH)
        inverse_depth = resize(inverse_depth, (rows * FINEST, columns * FINEST))
        depth = 1 / inverse_depth[..., :height, :width]
        return depth.clamp(max=self.max_depth)[:, 0]


class PoseGraph(nn.Module):
    """Motion of the camera between two frames in time order."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, earlier: Tensor, later: Tensor) -> Tensor:
        """Return axis-angle and translation of T_later_earlier. (N, H, W, 3) uint8 -> (N, 6)"""
        frames = torch.cat([to_image(earlier), to_image(later)], 1)
        return self.net(frames).motions[:, 0]


class FlowPoseGraph(nn.Module):
    """The same, from frames and the optical flow between them."""

    def __init__(self, net: FlowPose) -> None:
        super().__init__()
        self.net = net

    def forward(self, earlier: Tensor, later: Tensor, flow: Tensor) -> Tensor:
        """Return a motion; flow earlier to later, pixels. (N, 2, H, W) float32"""
        frames = torch.cat([to_image(earlier), to_image(later)], 1)
        return self.net(frames, flow).motions[:, 0]


class FlowGraph(nn.Module):
    """Optical flow from one frame to another, at their own size; what looks static in the first."""

    def __init__(self, net: nn.Module, mask_net: nn.Module | None = None) -> None:
        super().__init__()
        self.net, self.mask_net = net, mask_net

    def forward(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, ...]:
        """Return pixels (u, v) of the picture, and log odds of static if there is a mask network.

        (N, H, W, 3) uint8 -> (N, 2, H, W), (N, H, W)
        """
        height, width = earlier.shape[1], earlier.shape[2]
        frames = (to_image(frame, FLOW_STRIDE) for frame in (earlier, later))
        flow = self.net(torch.cat([*frames], 1))[0][..., :height, :width]
        return (flow,) if self.mask_net is None else (flow, self.mask_net(to_image(earlier))[:, 0])


class FeaturesGraph(nn.Module):
    """Descriptors of every pixel of a frame."""

    def __init__(self, net: nn.Module, *, stride: int) -> None:
        """Wrap a network; frames are filled up to a multiple of stride, and the map cut back."""
        super().__init__()
        self.net, self.stride = net, stride

    def forward(self, frame: Tensor) -> Tensor:
        """Return descriptors of length 1. (N, H, W, 3) uint8 -> (N, C, H, W)"""
        features = self.net(to_image(frame, self.stride))
        return features[..., : frame.shape[1], : frame.shape[2]]


class KeypointsGraph(nn.Module):
    """Descriptors of a frame, and how likely each pixel is a keypoint."""

    def __init__(self, net: KeypointNet, *, cells: bool) -> None:
        """Wrap a network; cells: the logits of a cell compete, else each pixel stands alone."""
        super().__init__()
        self.net, self.cells = net, cells

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return descriptors of length 1 and probabilities.

        (N, H, W, 3) uint8 -> (N, C, h, w), (N, H, W)
        """
        height, width = frame.shape[1], frame.shape[2]
        logits, descriptors = self.net(to_image(frame, CELL))
        score = keypoint_probability(logits) if self.cells else torch.sigmoid(logits)
        step = self.net.stride
        rows, columns = (height + step - 1) // step, (width + step - 1) // step
        return descriptors[..., :rows, :columns], score[:, 0, :height, :width]


def to_image(frames: Tensor, stride: int = 1) -> Tensor:
    """Turn frames into what networks take, sides filled up with border pixels to a multiple.

    Args:
        frames: RGB. (N, H, W, 3) uint8
        stride: which both sides become a multiple of.

    Returns:
        RGB in [0, 1]. (N, 3, H', W') float32
    """
    if stride > 1:
        frames = fill_up(frames, stride, axes=(1, 2))
    return frames.permute(0, 3, 1, 2).float() / 255


def fill_up(maps: Tensor, stride: int, *, axes: tuple[int, int]) -> Tensor:
    """Repeat the border pixels of two axes until both are multiples of a stride."""
    for axis in axes:
        side = maps.shape[axis]
        filled = (side + stride - 1) // stride * stride
        pixels = torch.arange(filled, device=maps.device).clamp(max=side - 1)
        maps = maps.index_select(axis, pixels)
    return maps


def build_graph(loaded: LoadedTask, part: Part, *, dynamic: bool) -> Graph:
    """Choose what of a trained task to export.

    Args:
        loaded: the task.
        part: its depth, pose, flow or features network.
        dynamic: whether H and W shall be free; those of pairs and of features always are.

    Raises:
        EngineError: the task has no such part, or it cannot be exported so.
    """
    if part == "pose":
        return _pose_graph(loaded, dynamic=dynamic)
    if part == "flow":
        return _flow_graph(loaded, dynamic=dynamic)
    if part == "features":
        return _features_graph(loaded)
    net, name = _network(loaded, "depth"), loaded.config.model.depth
    if loaded.config.kind.exported == "pair":
        module = PairGraph(net, max_depth=loaded.config.supervised.max_depth)
        if not isinstance(net, SweepNet):
            return Graph(module, "pair", name, ("previous", "current"), ("depth",), True)
        planes = tuple(float(q) for q in plane_inverse_depths())
        names = ("previous", "current", "volume")
        return Graph(module, "pair", name, names, ("depth",), True, planes=planes)
    stride = 32 if isinstance(net, ShadingNet) and dynamic else 1
    return Graph(MonoGraph(net, stride=stride), "mono", name, ("frame",), ("depth",), dynamic)


def _pose_graph(loaded: LoadedTask, *, dynamic: bool) -> Graph:
    net = _network(loaded, "pose")
    if not loaded.task.pairwise:
        raise EngineError(
            f"{loaded.file}: its pose network takes whole snippets of {len(loaded.shifts) + 1} "
            "frames, future ones too, so no robot can run it; train with model.pose_input: pair"
        )
    if reason := loaded.config.kind.pose_refused(loaded.config):
        raise EngineError(f"{loaded.file}: its pose network {reason}")
    if dynamic:
        raise EngineError("a pose network knows one size; export it without --dynamic")
    name = loaded.config.model.pose
    if isinstance(net, FlowPose):
        names = ("earlier", "later", "flow")
        return Graph(FlowPoseGraph(net), "pose", name, names, ("motion",), False, "dis_medium")
    return Graph(PoseGraph(net), "pose", name, ("earlier", "later"), ("motion",), False)


def _flow_graph(loaded: LoadedTask, *, dynamic: bool) -> Graph:
    if dynamic:  # and the tracer takes the size at which features are warped for a constant
        raise EngineError("a flow network is run at one size; export it without --dynamic")
    mask_net = getattr(loaded.task, "mask_net", None)
    module = FlowGraph(_network(loaded, "flow"), mask_net)
    outputs = ("flow",) if mask_net is None else ("flow", "static_odds")
    return Graph(module, "flow", loaded.config.model.flow, ("earlier", "later"), outputs, False)


def _features_graph(loaded: LoadedTask) -> Graph:
    net = _network(loaded, "features")
    if getattr(loaded.task, "decision_net", None) is not None:
        raise EngineError(
            f"{loaded.file}: its descriptors are compared by a network of their own, and matchers "
            "take their dot product; train with similarity.decision: cosine"
        )
    if isinstance(net, KeypointNet):
        return _keypoints_graph(net, loaded.config)
    module, name = FeaturesGraph(net, stride=cast(int, net.stride)), loaded.config.model.features
    return Graph(module, "features", name, ("frame",), ("features",), True)


def _keypoints_graph(net: KeypointNet, config: TrainConfig) -> Graph:
    cells = config.keypoints.way == "superpoint" or config.keypoints.corners
    return Graph(
        KeypointsGraph(net, cells=cells),
        "features",
        f"keypoints-{config.model.keypoints}",
        ("frame",),
        ("features", "score"),
        True,
        stride=net.stride,
    )


def _network(loaded: LoadedTask, part: Part) -> nn.Module:
    """Return a network of a task; where it has none, name one that it has.

    Raises:
        EngineError: the task has no such part.
    """
    if (net := getattr(loaded.task, f"{part}_net", None)) is not None:
        return net
    parts = loaded.config.kind.parts
    learnt, alone = parts[0], "depth and motion" if "pose" in parts else f"{parts[0]} alone"
    raise EngineError(
        f"{loaded.file}: task {loaded.config.task} learnt {alone}, no {part}; "
        f"take its {learnt} (export --part {learnt}), or another run"
    )


def fold_normalisation(module: nn.Module) -> None:
    """Put `Affine` for each batch normalisation below a module.

    Exporters fold a normalisation into the convolution before it: weights that are 16-bit numbers
    would be so no more. Runtimes fold the affine map at load.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, Affine(child))
        else:
            fold_normalisation(child)


class Affine(nn.Module):
    """What batch normalisation is outside training."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        state = norm.state_dict()
        scale = state["weight"] * (state["running_var"] + norm.eps).rsqrt()
        shift = state["bias"] - state["running_mean"] * scale
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("shift", shift[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift each channel. (N, C, H, W)"""
        return x * self.scale + self.shift
