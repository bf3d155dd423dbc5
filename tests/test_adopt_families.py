# SPDX-License-Identifier: Apache-2.0
"""Every family's convention: what a small graph says of a frame, worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from foreign_makers import (
    HALVES,
    PLAIN,
    UNIT,
    divided,
    level_of,
    write_depth,
    write_disparity,
    write_foreign,
    write_moge,
)

import depthkit
from depthkit.export import foreign_proof
from depthkit.pipelines.verify import verify
from depthkit.runtime.depth.depth_engine import NO_K, DepthEngine
from depthkit.runtime.depth.depth_stream import DepthStream
from depthkit.runtime.network.manifest import read_manifest

SIZE = (28, 42)
NEAR = 1e-3  # relative, the tolerance of adopted files


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prove on ONNX Runtime alone; the first test below asks every backend."""
    monkeypatch.setattr(foreign_proof, "runnable", lambda: [("onnxruntime", "default")])


def frame_of(size: tuple[int, int] = SIZE, *, seed: int = 0) -> np.ndarray:
    """Return a frame of random colours, none so dark that a disparity is tiny."""
    return np.random.default_rng(seed).integers(20, 256, (*size, 3), dtype=np.uint8)


def camera(fx: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return K with a principal point off the centre."""
    return np.array([[fx, 0, size[1] / 2 + 1], [0, 0.9 * fx, size[0] / 3], [0, 0, 1]])


def answer(file: Path, rgb: np.ndarray, K: np.ndarray | None = None):
    """Return the engine's result."""
    with DepthEngine.open(file, backend="onnxruntime") as engine:
        return engine.depth(rgb, K=K)


def agrees(depth: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two maps agree to the tolerance everywhere."""
    return bool((np.abs(depth - expected) <= NEAR * expected).all())


def test_depth_anything_is_a_disparity(tmp_path: Path) -> None:
    """Depth is 1 / q, relative, with scale and shift of q unknown; the licence is kept."""
    file = write_disparity(tmp_path / "da.onnx")
    done = depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-anything", licence="Apache-2.0")
    result, rgb = answer(tmp_path / "a.onnx", frame_of()), frame_of()
    assert agrees(result.depth, 100 / level_of(rgb)) and result.valid.all()
    manifest = read_manifest(tmp_path / "a.onnx")
    assert (manifest.scale, manifest.ambiguity, manifest.quantity, manifest.licence) == (
        "relative",
        "scale-and-shift",
        "disparity",
        "Apache-2.0",
    )
    assert result.scale == "relative" and "shift" in result.scale_source
    assert manifest.adopted_from.file == "da.onnx" and len(manifest.adopted_from.sha256) == 64
    assert done.parities and all(one.holds for one in done.parities) and not done.refused
    verify(tmp_path / "a.onnx").require()


def test_depth_anything_v2_metric_is_metres(tmp_path: Path) -> None:
    """Depth as it is, metres with and without K."""
    depthkit.adopt(
        write_depth(tmp_path / "v2.onnx"), tmp_path / "a.onnx", preset="depth-anything-v2-metric"
    )
    for K in (None, camera(30)):
        result = answer(tmp_path / "a.onnx", frame_of(), K)
        assert agrees(result.depth, level_of(frame_of()) / 10) and result.scale == "metric"


def test_depth_anything_3_metric_takes_the_focal_length_and_sky(tmp_path: Path) -> None:
    """Depth is fx / 300 of the answer, relative without K; sky (above 0.3) is unknown."""
    body = (
        divided("depth", 10, drop=False)
        + """
        bright = Constant<value = float {200}>()
        over = Greater(level, bright)
        as_number = Cast<to=1>(over)
        share = Constant<value = float {0.4}>()
        sky = Mul(as_number, share)
    """
    )
    outputs = "float[1,1,28,42] depth, float[1,1,28,42] sky"
    file = write_foreign(tmp_path / "da3.onnx", body, outputs, name="image")
    depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-anything-3-metric")
    rgb, level = frame_of(), level_of(frame_of())
    result = answer(tmp_path / "a.onnx", rgb, camera(60))
    ground = level <= 200
    assert 0 < (~ground).sum() < ground.sum()
    assert (result.valid == ground).all() and result.scale == "metric"
    assert agrees(result.depth[ground], level[ground] / 10 * 60 / 300)
    without = answer(tmp_path / "a.onnx", rgb)
    assert (without.scale, without.scale_source) == ("relative", NO_K)
    assert agrees(without.depth[ground], level[ground] / 10)


def test_depth_anything_3_mono_lacks_a_factor(tmp_path: Path) -> None:
    """Depth, relative; that the file has no sky is said."""
    file = write_depth(tmp_path / "mono.onnx")
    done = depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-anything-3-mono")
    result = answer(tmp_path / "a.onnx", frame_of())
    assert agrees(result.depth, level_of(frame_of()) / 10) and result.scale == "relative"
    assert done.manifest.ambiguity == "scale"
    assert any("no output 'sky'" in note for note in done.notes)


def test_metric3d_is_canonical_depth_in_a_letterbox(tmp_path: Path) -> None:
    """A frame half as wide lies between two borders; fx counts at the network's size."""
    size = (28, 56)
    file = write_depth(tmp_path / "m3d.onnx", size=size)
    depthkit.adopt(file, tmp_path / "a.onnx", preset="metric3d-v2")
    # 28 x 28 needs no resizing: 14 columns of border on each side, fx stays.
    rgb = frame_of((28, 28))
    result = answer(tmp_path / "a.onnx", rgb, camera(40, (28, 28)))
    assert result.depth.shape == (28, 28) and result.scale == "metric"
    assert agrees(result.depth, level_of(rgb) / 10 * 40 / 1000)
    # 56 x 56 of 2 x 2 equal pixels is the same picture: fx at the network's size is half of 80.
    large = rgb.repeat(2, axis=0).repeat(2, axis=1)
    doubled = answer(tmp_path / "a.onnx", large, camera(80, (56, 56)))
    inside = doubled.depth[1:-1:2, 1:-1:2][:27, :27]  # a quarter of a pixel off: the same within
    near = result.depth[:27, :27]
    step = np.abs(np.diff(result.depth, axis=0)).max() + np.abs(np.diff(result.depth, axis=1)).max()
    assert np.abs(inside - near).max() <= step
    assert np.isclose(np.median(doubled.depth), np.median(result.depth), rtol=0.1)


def test_unidepth_is_the_z_of_points(tmp_path: Path) -> None:
    """The third of three channels, metres; confidence and K are left aside."""
    body = (
        divided("z", 10, drop=False)
        + """
        zero = Sub(z, z)
        pts_3d = Concat<axis = 1>(zero, zero, z)
        confidence = Identity(z)
        intrinsics = Constant<value = float[1,3,3] {1,0,0,0,1,0,0,0,1}>()
    """
    )
    outputs = "float[1,3,28,42] pts_3d, float[1,1,28,42] confidence, float[1,3,3] intrinsics"
    file = write_foreign(tmp_path / "uni.onnx", body, outputs, name="image")
    done = depthkit.adopt(file, tmp_path / "a.onnx", preset="unidepth-v2")
    result = answer(tmp_path / "a.onnx", frame_of())
    assert agrees(result.depth, level_of(frame_of()) / 10) and result.scale == "metric"
    assert done.output == "pts_3d" and done.manifest.licence == "CC-BY-NC-4.0"


def test_moge_solves_the_shift_by_K(tmp_path: Path) -> None:
    """Points without 0.7 m of z and at a third of the scale become the metres of the world."""
    size, K = (42, 56), camera(50, (42, 56))
    file = write_moge(tmp_path / "moge.onnx", K, size, shift=0.7, scale=3.0)
    depthkit.adopt(file, tmp_path / "a.onnx", preset="moge-2")
    rgb, level = frame_of(size), level_of(frame_of(size))
    result = answer(tmp_path / "a.onnx", rgb, K)
    known = level < 200
    assert result.scale == "metric" and (result.valid == known).all()
    # The shift is 0.7 of at least 1.4 m: float32 points of 5 m are exact to 1e-6.
    assert np.allclose(result.depth[known], 1 + level[known] / 50, rtol=1e-4)
    with DepthEngine.open(tmp_path / "a.onnx", backend="onnxruntime") as engine:
        stream = DepthStream(engine)
        without = stream.process(rgb, stamp=0.0)
        assert without.depth is None and "needs K" in without.reason
        assert (without.scale, without.scale_source) == ("relative", NO_K)
        again = stream.process(rgb, stamp=0.1, K=K)
    assert again.scale == "metric" and np.array_equal(again.depth, result.depth, equal_nan=True)


def test_depth_pro_is_an_inverse_depth_by_the_width(tmp_path: Path) -> None:
    """depth = fx / N / c where N is the width; the small graph's width is 42."""
    outputs = "float[1,1,28,42] canonical_inverse_depth"
    body = divided("canonical_inverse_depth", 100, drop=False)
    file = write_foreign(tmp_path / "pro.onnx", body, outputs, scaling=HALVES)
    depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-pro", focal_rule="f/42")
    result = answer(tmp_path / "a.onnx", frame_of(), camera(60))
    assert agrees(result.depth, 60 / 42 * 100 / level_of(frame_of()))
    assert result.scale == "metric"


def test_video_depth_anything_takes_one_frame(tmp_path: Path) -> None:
    """A clip axis of one, or a free one, gets the frame; the answer is (1, 1, H, W)."""
    for count in ("1", "T"):
        file = write_foreign(
            tmp_path / f"vda{count}.onnx",
            divided("depth", 100, drop=False),
            "float[1,1,28,42] depth",
            dims=f"1,{count},3",
        )
        out = tmp_path / f"a{count}.onnx"
        depthkit.adopt(file, out, preset="video-depth-anything-s")
        assert agrees(answer(out, frame_of()).depth, 100 / level_of(frame_of()))


def test_options_alone_say_all(tmp_path: Path) -> None:
    """BGR, channels last, log depth in millimetres, padded on the left and above."""
    body = divided("tenth", 100, drop=False) + "\n depth = Transpose<perm = [0, 2, 3, 1]>(tenth)"
    file = write_foreign(
        tmp_path / "log.onnx",
        body,
        "float[1,28,42,1] depth",
        scaling=UNIT,
        weights=tuple(reversed((0.5, 0.3, 0.2))),
    )
    depthkit.adopt(
        file,
        tmp_path / "a.onnx",
        normalise="0..1",
        colour="BGR",
        output="log",
        ambiguity="none",
        unit=0.5,
        resize="pad",
        pad_side="left-above",
        pad_value=(9, 9, 9),
    )
    rgb = frame_of((20, 42))  # 8 rows of border above
    result = answer(tmp_path / "a.onnx", rgb)
    assert agrees(result.depth, 0.5 * np.exp(level_of(rgb) / 100)) and result.scale == "metric"


def test_channels_last_and_bytes(tmp_path: Path) -> None:
    """An input (1, H, W, 3) of bytes gets the frame as it is."""
    import onnx.parser

    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        foreign (uint8[1,28,42,3] image) => (float[1,28,42,1] depth) {
            x = Cast<to=1>(image)
            w = Constant<value = float[3,1] {0.5, 0.3, 0.2}>()
            level = MatMul(x, w)
            by = Constant<value = float {10}>()
            depth = Div(level, by)
        }"""
    )
    onnx.save(model, tmp_path / "bytes.onnx")
    depthkit.adopt(tmp_path / "bytes.onnx", tmp_path / "a.onnx", normalise="none", output="depth")
    assert agrees(answer(tmp_path / "a.onnx", frame_of()).depth, level_of(frame_of()) / 10)


def test_half_size_maps_are_enlarged_in_inverse_depth(tmp_path: Path) -> None:
    """A map of 14 x 21 becomes 28 x 42; a plane in inverse depth stays one inside."""
    body = """
        by = Constant<value = float {100}>()
        small = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(level)
        disparity = Div(small, by)
    """
    file = write_foreign(tmp_path / "half.onnx", body, "float[1,1,14,21] disparity", scaling=PLAIN)
    depthkit.adopt(file, tmp_path / "a.onnx", normalise="none", output="disparity")
    ramp = np.broadcast_to(np.arange(20, 20 + 2 * 42, 2, dtype=np.uint8), SIZE)
    result = answer(tmp_path / "a.onnx", np.ascontiguousarray(np.dstack([ramp] * 3)))
    assert agrees(result.depth[:, 1:-1], 100 / ramp[:, 1:-1].astype(float))


def test_unknown_pixels_of_half_size_maps_stay_alone(tmp_path: Path) -> None:
    """A known pixel that has no part of an unknown one keeps its depth."""
    body = """
        by = Constant<value = float {100}>()
        small = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(level)
        disparity = Div(small, by)
    """
    file = write_foreign(tmp_path / "half.onnx", body, "float[1,1,14,21] disparity", scaling=PLAIN)
    depthkit.adopt(file, tmp_path / "a.onnx", normalise="none", output="disparity")
    rgb = np.full((*SIZE, 3), 50, np.uint8)
    rgb[:, :2] = 0  # the first column of the small map: disparity 0
    result = answer(tmp_path / "a.onnx", rgb)
    # Columns 0, 1 lie in it; column 2 has a quarter of it; from column 3 on there is none.
    assert not result.valid[:, :3].any() and result.valid[:, 3:].all()
    assert agrees(result.depth[:, 3:], np.full((28, 39), 2.0))


def test_what_lies_beyond_the_range_is_unknown(tmp_path: Path) -> None:
    """max:15 of level / 10 leaves levels below 150."""
    file = write_depth(tmp_path / "v2.onnx")
    depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-anything-v2-metric", validity="max:15")
    result, level = answer(tmp_path / "a.onnx", frame_of()), level_of(frame_of())
    assert (result.valid == (level < 150)).all()
    assert read_manifest(tmp_path / "a.onnx").max_depth == 15


@pytest.mark.parametrize("normalise", ["none", "0..1"])
def test_a_wrong_normalisation_is_another_answer(tmp_path: Path, normalise: str) -> None:
    """The hand-made answers above would see one: the level is not that of the frame."""
    file = write_depth(tmp_path / "v2.onnx")
    depthkit.adopt(
        file,
        tmp_path / "a.onnx",
        preset="depth-anything-v2-metric",
        normalise=normalise,
        force=True,
    )
    depth = answer(tmp_path / "a.onnx", frame_of()).depth
    assert not agrees(depth, level_of(frame_of()) / 10)
