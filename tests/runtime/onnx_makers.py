# SPDX-License-Identifier: Apache-2.0
"""Small real ONNX files, manifest and all, whose answers can be worked out by hand.

Every network looks at brightness (mean of the channels, 0 to 255) alone, and answers NaN where
that is above `BLINDING`: of a pixel for depth and flow, of the later frame's mean for motion.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnxruntime

from depthkit.runtime.network.manifest import Check, Manifest, write_model
from depthkit.runtime.network.parity import encode_floats, encode_flow, encode_image, on_grid

BLINDING = 250
STEP = 4  # of the stored output's grid

# x is never changed by `blind`, except that it is NaN where `seen` is above BLINDING.
_BLIND = f"""
    limit = Constant<value = float {{{BLINDING}}}>()
    left = Sub(limit, seen)
    root = Sqrt(left)
    zero = Sub(root, root)
"""


def write_mono(path: Path, *, size: tuple[int, int] = (32, 48), **record: Any) -> Path:
    """Write a network of single frames: depth = 1 / (0.1 + brightness / 255)."""
    height, width = size
    text = f"""
    mono (uint8[N,{height},{width},3] frame) => (float[N,{height},{width}] depth) {{
        x = Cast<to=1>(frame)
        axes = Constant<value_ints = [3]>()
        seen = ReduceMean<keepdims=0>(x, axes)
        {_BLIND}
        least = Constant<value = float {{0.1}}>()
        white = Constant<value = float {{255}}>()
        level = Div(seen, white)
        raised = Add(level, least)
        inverse = Add(raised, zero)
        depth = Reciprocal(inverse)
    }}"""
    given = {"scale": "relative", "scale_source": "no unit was taught"} | record
    return _write(path, text, kind="mono", size=size, **given)


def write_pair(
    path: Path,
    *,
    size: tuple[int, int] = (48, 64),
    focal: float = 50.0,
    weights: tuple[float, float] = (1.0, 0.0),
    bias: float = 0.0,
    max_depth: float = 100.0,
    size_multiple: int = 1,
    **record: Any,
) -> Path:
    """Write a pair network: depth = bias + weights . (brightness of previous, of current).

    It is clipped to 0.001 and max_depth, takes frames of any size, and its nominal baseline is
    0.3 m. By default the earlier frame's brightness IS the depth at the nominal baseline.
    """
    text = f"""
    pair (uint8[N,H,W,3] previous, uint8[N,H,W,3] current) => (float[N,H,W] depth) {{
        axes = Constant<value_ints = [3]>()
        p = Cast<to=1>(previous)
        seen = ReduceMean<keepdims=0>(p, axes)
        c = Cast<to=1>(current)
        now = ReduceMean<keepdims=0>(c, axes)
        {_BLIND}
        wp = Constant<value = float {{{float(weights[0])}}}>()
        wc = Constant<value = float {{{float(weights[1])}}}>()
        b = Constant<value = float {{{float(bias)}}}>()
        from_p = Mul(seen, wp)
        from_c = Mul(now, wc)
        both = Add(from_p, from_c)
        raised = Add(both, b)
        low = Constant<value = float {{0.001}}>()
        high = Constant<value = float {{{float(max_depth)}}}>()
        clipped = Clip(raised, low, high)
        depth = Add(clipped, zero)
    }}"""
    given = {"nominal_baseline": 0.3, "scale": "metric", "scale_source": "known motion"} | record
    return _write(
        path,
        text,
        kind="pair",
        size=size,
        dynamic=True,
        size_multiple=size_multiple,
        focal=focal,
        max_depth=max_depth,
        **given,
    )


def write_pose(
    path: Path,
    *,
    size: tuple[int, int] = (32, 48),
    motion: tuple[float, ...] = (0, 0, 0.1, 0.2, 0, 0),
    flow: bool = False,
    **record: Any,
) -> Path:
    """Write a pose network: T_later_earlier is the six numbers of `motion`, each multiplied by the
    later frame's mean brightness / 100; with `flow`, by the mean flow to the right in pixels.
    """
    height, width = size
    numbers = ", ".join(str(float(value)) for value in motion)
    more = f", float[N,2,{height},{width}] flow" if flow else ""
    factor = """
        rightwards = Constant<value_ints = [0]>()
        along = Gather<axis=1>(flow, rightwards)
        planes = Constant<value_ints = [1, 2, 3]>()
        pixels = ReduceMean<keepdims=0>(along, planes)
        factor = Unsqueeze(pixels, one)
    """
    plain = """
        hundred = Constant<value = float {100}>()
        factor = Div(column, hundred)
    """
    text = f"""
    pose (uint8[N,{height},{width},3] earlier, uint8[N,{height},{width},3] later{more})
        => (float[N,6] motion) {{
        x = Cast<to=1>(later)
        all = Constant<value_ints = [1, 2, 3]>()
        seen = ReduceMean<keepdims=0>(x, all)
        {_BLIND}
        one = Constant<value_ints = [1]>()
        column = Unsqueeze(seen, one)
        nothing = Unsqueeze(zero, one)
        {factor if flow else plain}
        six = Constant<value = float[1,6] {{{numbers}}}>()
        scaled = Mul(six, factor)
        early = Cast<to=1>(earlier)
        none = Sub(early, early)
        none_too = ReduceMean<keepdims=0>(none, all)
        used = Unsqueeze(none_too, one)
        sum = Add(scaled, used)
        motion = Add(sum, nothing)
    }}"""
    given = {"scale": "relative", "scale_source": "no unit was taught"} | record
    named = {"flow": "dis_medium"} if flow else {}
    return _write(path, text, kind="pose", size=size, **named, **given)


def write_flow(path: Path, *, size: tuple[int, int] = (32, 48), **record: Any) -> Path:
    """Write a flow network: u = brightness of the earlier frame's pixel / 10, v of the later's."""
    height, width = size
    text = f"""
    flow (uint8[N,{height},{width},3] earlier, uint8[N,{height},{width},3] later)
        => (float[N,2,{height},{width}] flow) {{
        axes = Constant<value_ints = [3]>()
        e = Cast<to=1>(earlier)
        l = Cast<to=1>(later)
        seen = ReduceMean<keepdims=0>(e, axes)
        there = ReduceMean<keepdims=0>(l, axes)
        {_BLIND}
        known = Add(seen, zero)
        one = Constant<value_ints = [1]>()
        u = Unsqueeze(known, one)
        v = Unsqueeze(there, one)
        both = Concat<axis = 1>(u, v)
        ten = Constant<value = float {{10}}>()
        flow = Div(both, ten)
    }}"""
    given = {"scale": "relative", "scale_source": "none: flow is pixels"} | record
    return _write(path, text, kind="flow", size=size, **given)


def _write(path: Path, text: str, *, kind: str, size: tuple[int, int], **record: Any) -> Path:
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]>{text}')
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    manifest = Manifest(
        kind=kind,
        network="brightness",
        size=size,
        check=_stored(data, kind, size, "flow" in record),
        tolerance=1e-4,
        **record,
    )
    write_model(path, manifest, data)
    return path


def _stored(model: bytes, kind: str, size: tuple[int, int], has_flow: bool) -> Check:
    """Answer a random input with ONNX Runtime itself."""
    rng = np.random.default_rng(0)
    in_time = ("earlier", "later")
    names = {"mono": ("frame",), "pair": ("previous", "current"), "pose": in_time, "flow": in_time}
    images = {n: rng.integers(0, 200, (*size, 3), dtype=np.uint8) for n in names[kind]}
    inputs = {name: image[None] for name, image in images.items()}
    texts = {name: encode_image(image) for name, image in images.items()}
    if has_flow:
        flow = rng.integers(-64, 64, (2, *size)).astype(np.float32) / 64
        inputs["flow"], texts["flow"] = flow[None], encode_flow(flow)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (output,) = session.get_outputs()
    answer = session.run(None, inputs)[0][0]
    answer = on_grid(answer, STEP) if answer.ndim >= 2 else answer
    return Check(texts, STEP, {output.name: encode_floats(answer)})
