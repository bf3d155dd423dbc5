# SPDX-License-Identifier: Apache-2.0
"""Small ONNX graphs that speak as the families of depth networks do; every answer is by hand.

Each undoes the normalisation that its family's users apply, and looks at `level`: half of red, 0.3
of green and 0.2 of blue, 0 to 255. A wrong normalisation or colour order gives another level.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

WEIGHTS = (0.5, 0.3, 0.2)
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
UNIT = ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
HALVES = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def level_of(rgb: np.ndarray) -> np.ndarray:
    """Return what a right normalisation brings to the networks. (H, W, 3) uint8 -> (H, W)"""
    return rgb.astype(np.float64) @ WEIGHTS


def write_foreign(
    path: Path,
    body: str,
    outputs: str,
    *,
    size: Sequence[int | str] = (28, 42),
    scaling: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET,
    name: str = "pixel_values",
    type: str = "float",
    dims: str = "1,3",
    weights: tuple[float, ...] = WEIGHTS,
    more_inputs: str = "",
    opset: int = 17,
) -> Path:
    """Write a graph.

    Args:
        path: file.
        body: lines from `level` (1, 1, H, W) float32 to the outputs.
        outputs: their declarations, as `float[1,28,42] depth`.
        size: of the input, numbers or names of free axes.
        scaling: mean and std of the pixel values that the users apply.
        name, type: of the input.
        dims: axes before H and W: `1,3`, or `1,1,3` of a clip.
        weights: of the channels in their own order.
        more_inputs: their declarations, each after a comma.
        opset: ONNX operator set.
    """
    height, width = size
    mean, std = (",".join(str(float(v)) for v in each) for each in scaling)
    parts = ",".join(str(float(v)) for v in weights)
    squeeze = "clip_axis = Constant<value_ints = [1]>()\n x = Squeeze(wide, clip_axis)"
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]>
    foreign ({type}[{dims},{height},{width}] {name}{more_inputs}) => ({outputs}) {{
        wide = Cast<to=1>({name})
        {squeeze if dims.count(",") == 2 else "x = Identity(wide)"}
        std = Constant<value = float[1,3,1,1] {{{std}}}>()
        mean = Constant<value = float[1,3,1,1] {{{mean}}}>()
        scaled = Mul(x, std)
        pixel = Add(scaled, mean)
        parts_of = Constant<value = float[1,3,1,1] {{{parts}}}>()
        parts = Mul(pixel, parts_of)
        channel_axis = Constant<value_ints = [1]>()
        level = ReduceSum<keepdims=1>(parts, channel_axis)
        {body}
    }}"""
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def divided(output: str, by: float, *, drop: bool = True) -> str:
    """Return the lines of an output that is level / by, (1, H, W) or with the channel kept."""
    last = (
        f"{output} = Squeeze(quotient, channel_axis)" if drop else f"{output} = Identity(quotient)"
    )
    return f"by = Constant<value = float {{{float(by)}}}>()\n quotient = Div(level, by)\n {last}"


def write_disparity(path: Path, **options) -> Path:
    """Write a network whose disparity is level / 100: depth = 100 / level."""
    height, width = options.get("size", (28, 42))
    outputs = f"float[1,{height},{width}] predicted_depth"
    return write_foreign(path, divided("predicted_depth", 100), outputs, **options)


def write_depth(path: Path, **options) -> Path:
    """Write a network whose depth is level / 10, (1, 1, H, W)."""
    height, width = options.get("size", (28, 42))
    outputs = f"float[1,1,{height},{width}] predicted_depth"
    return write_foreign(path, divided("predicted_depth", 10, drop=False), outputs, **options)


def write_moge(
    path: Path, K: np.ndarray, size: tuple[int, int], shift: float, scale: float
) -> Path:
    """Write MoGe's outputs of a world at depth 1 + level / 50, seen by K at the network's size.

    Points are divided by `scale`, which is the output metric_scale, and their z lacks `shift`. The
    mask is 1 where level < 200.
    """
    height, width = size
    v, u = np.mgrid[0:height, 0:width]
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1)
    numbers = ",".join(f"{value:.9g}" for value in rays.ravel())
    body = f"""
        rays = Constant<value = float[1,{height},{width},3] {{{numbers}}}>()
        fifty = Constant<value = float {{50}}>()
        one = Constant<value = float {{1}}>()
        share = Div(level, fifty)
        deep = Add(share, one)
        last = Transpose<perm = [0, 2, 3, 1]>(deep)
        world = Mul(rays, last)
        lack = Constant<value = float[3] {{0, 0, {shift}}}>()
        shifted = Sub(world, lack)
        divisor = Constant<value = float {{{scale}}}>()
        points = Div(shifted, divisor)
        bright = Constant<value = float {{200}}>()
        dark = Less(level, bright)
        seen = Cast<to=1>(dark)
        mask = Squeeze(seen, channel_axis)
        tokens = Cast<to=1>(num_tokens)
        nothing = Sub(tokens, tokens)
        flat = Constant<value_ints = [1]>()
        scales = Constant<value = float[1] {{{scale}}}>()
        metric_scale = Add(scales, nothing)
    """
    outputs = (
        f"float[1,{height},{width},3] points, float[1,{height},{width}] mask, float[1] metric_scale"
    )
    return write_foreign(
        path,
        body,
        outputs,
        size=size,
        scaling=UNIT,
        name="image",
        more_inputs=", int64 num_tokens",
    )


def write_keypoints(path: Path, stride: int = 1) -> Path:
    """Write a network that also says how much each pixel is a keypoint: a third of its brightness
    (the mean of the channels), from a picture reduced by the stride."""
    sides = [stride, stride]
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    foreign (float[1,3,H,W] image) => (float[1,3,h,w] feats, float[1,1,U,V] score) {{
        feats = AveragePool<kernel_shape = [8, 8], strides = [8, 8]>(image)
        small = AveragePool<kernel_shape = {sides}, strides = {sides}>(image)
        mean = ReduceMean<axes = [1]>(small)
        three = Constant<value = float {{3}}>()
        score = Div(mean, three)
    }}"""
    onnx.save(onnx.parser.parse_model(text), path)
    return path
