# SPDX-License-Identifier: Apache-2.0
"""`depthkit adopt` where files do not fit, and where a wrong meaning is seen in the answers."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx.parser
import pytest
from foreign_makers import (
    IMAGENET,
    PLAIN,
    divided,
    level_of,
    write_depth,
    write_disparity,
    write_foreign,
)
from onnx import numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

import depthkit
from depthkit.cli import adopt as command
from depthkit.cli import main
from depthkit.errors import ConfigError, DepthkitError
from depthkit.export import foreign_file, foreign_proof
from depthkit.export.foreign_convention import (
    Convention,
    Said,
    combine,
    read_constants,
    read_scaling,
    read_validity,
)
from depthkit.export.foreign_presets import PRESETS
from depthkit.pipelines.adopt_evidence import check_range, drawn_frames
from depthkit.pipelines.verify import verify
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.network.manifest import read_manifest

SIZE = (28, 42)
FRAME = np.random.default_rng(1).integers(20, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prove on ONNX Runtime alone: other backends take most of the time, `verify` tries them."""
    monkeypatch.setattr(foreign_proof, "runnable", lambda: [("onnxruntime", "default")])


def refusal(file: Path, *, out: str = "a.onnx", **options) -> str:
    """Return the one line with which a file is refused; nothing is written."""
    with pytest.raises(DepthkitError) as caught:
        depthkit.adopt(file, file.parent / out, **options)
    assert "\n" not in str(caught.value) and not (file.parent / out).exists()
    assert not list(file.parent.glob(".*partial*"))
    return str(caught.value)


# --- files that do not fit ------------------------------------------------------------------------


def test_a_wrong_output_name_lists_what_there_is(tmp_path: Path) -> None:
    """The line has the names and shapes of all outputs."""
    line = refusal(write_depth(tmp_path / "v2.onnx"), preset="depth-anything", output_name="dpeth")
    assert "no output 'dpeth'" in line
    assert "predicted_depth float [1, 1, 28, 42]" in line and "--output-name" in line


def test_a_wrong_input_name_lists_what_there_is(tmp_path: Path) -> None:
    """The same of inputs."""
    line = refusal(write_depth(tmp_path / "v2.onnx"), preset="depth-anything", input_name="x")
    assert "no input 'x'" in line and "pixel_values float [1, 3, 28, 42]" in line


def test_free_axes_are_given_a_size(tmp_path: Path) -> None:
    """Without a size they are refused; with one the graph stays free and says so."""
    body = divided("predicted_depth", 100)
    file = write_foreign(
        tmp_path / "free.onnx", body, "float[1,H,W] predicted_depth", size=("H", "W")
    )
    line = refusal(file, normalise="imagenet", output="disparity")
    assert "has free sides; give --input HEIGHTxWIDTH" in line
    assert "28x45 is no multiple of 14" in refusal(file, preset="depth-anything", input=(28, 45))
    depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-anything", input=SIZE)
    manifest = read_manifest(tmp_path / "a.onnx")
    assert (manifest.size, manifest.dynamic, manifest.size_multiple) == (SIZE, True, 14)
    with DepthEngine.open(tmp_path / "a.onnx", backend="onnxruntime") as engine:
        assert np.allclose(engine.depth(FRAME).depth, 100 / level_of(FRAME), rtol=1e-3)
        other = engine.backend.run({"frame": np.full((1, 42, 56, 3), 50, np.uint8)})["depth"]
    assert other.shape == (1, 42, 56) and np.allclose(other, 2, rtol=1e-4)


def test_free_axes_that_are_not_free_stay_fixed(tmp_path: Path) -> None:
    """A graph with a baked size behind free names is held at that size, and it is said."""
    body = """
        shape = Constant<value_ints = [1, 28, 42]>()
        by = Constant<value = float {100}>()
        quotient = Div(level, by)
        predicted_depth = Reshape(quotient, shape)
    """
    file = write_foreign(
        tmp_path / "baked.onnx", body, "float[1,28,42] predicted_depth", size=("H", "W")
    )
    done = depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-anything", input=SIZE)
    assert not done.manifest.dynamic
    assert any("called free, but it stays at 28x42" in note for note in done.notes)


def test_a_fixed_size_is_not_overruled(tmp_path: Path) -> None:
    """--input against the file is one line with both sizes."""
    line = refusal(write_depth(tmp_path / "v2.onnx"), preset="depth-anything", input=(518, 518))
    assert "fixed at 28x42, --input says 518x518" in line


def test_fp16_inputs_are_cast_in_the_graph(tmp_path: Path) -> None:
    """Half precision in and out: frames stay bytes, depth is float32, the tolerance is fp16's."""
    body = """
        by = Constant<value = float {100}>()
        quotient = Div(level, by)
        predicted_depth = Cast<to = 10>(quotient)
    """
    outputs = "float16[1,1,28,42] predicted_depth"
    file = write_foreign(tmp_path / "half.onnx", body, outputs, type="float16")
    depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-anything")
    manifest = read_manifest(tmp_path / "a.onnx")
    assert (manifest.precision, manifest.tolerance) == ("fp16", 2e-2)
    with DepthEngine.open(tmp_path / "a.onnx", backend="onnxruntime") as engine:
        depth = engine.depth(FRAME).depth
    # Inputs and disparity have 11 bits each; undoing the std of 58 enlarges the first by 4.
    assert depth.dtype == np.float32
    assert np.allclose(depth, 100 / level_of(FRAME), rtol=1e-2)


def test_external_data_are_embedded_or_named(tmp_path: Path, monkeypatch) -> None:
    """Weights in another file come in; missing ones and 2 GB are one line."""
    plain = write_disparity(tmp_path / "plain.onnx")
    model = onnx.load(plain)
    weight = np.zeros((1, 1, *SIZE), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "weight"))
    node = next(one for one in model.graph.node if "level" in one.input)
    model.graph.node.insert(
        list(model.graph.node).index(node),
        onnx.helper.make_node("Add", ["level", "weight"], ["l2"]),
    )
    node.input[0] = "l2"
    convert_model_to_external_data(model, location="weights.bin", size_threshold=1000)
    onnx.save(model, tmp_path / "outside.onnx")
    file = tmp_path / "outside.onnx"
    assert (tmp_path / "weights.bin").stat().st_size >= weight.nbytes
    depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-anything")
    with DepthEngine.open(tmp_path / "a.onnx", backend="onnxruntime") as engine:
        assert np.allclose(engine.depth(FRAME).depth, 100 / level_of(FRAME), rtol=1e-3)
    monkeypatch.setattr(foreign_file, "LARGEST", 5000)
    assert "GB with its weights" in refusal(file, preset="depth-anything", out="b.onnx")
    (tmp_path / "weights.bin").unlink()
    line = refusal(file, preset="depth-anything", out="b.onnx")
    assert "its weights lie in weights.bin, which is not beside it" in line


def test_a_preset_that_does_not_fit(tmp_path: Path) -> None:
    """Channels, multiples, axes, output rank, clips, further inputs: each is named."""
    flat = "float[1,1,28,42] predicted_depth"
    body = divided("predicted_depth", 10, drop=False)
    file = write_foreign(
        tmp_path / "odd.onnx", body, "float[1,1,30,42] predicted_depth", size=(30, 42)
    )
    assert "30x42 is no multiple of 14" in refusal(file, preset="depth-anything")
    file = write_foreign(tmp_path / "clip.onnx", body, flat, dims="1,8,3")
    assert "takes clips of 8 frames" in refusal(file, preset="video-depth-anything-s")
    file = write_foreign(tmp_path / "two.onnx", body, flat, dims="2,3")
    assert "takes 2 pictures" in refusal(file, preset="depth-anything")
    file = write_depth(tmp_path / "flat.onnx")
    line = refusal(file, preset="unidepth-v2")
    assert "output predicted_depth has shape [1, 1, 28, 42]" in line and "3 channels" in line
    line = refusal(file, preset="moge-2")
    assert "no output 'metric_scale'" in line and "--scale-output" in line
    file = write_foreign(tmp_path / "K.onnx", body, flat, more_inputs=", float[1,3,3] K")
    line = refusal(file, preset="depth-anything-v2-metric")
    assert "takes a further input, K float [1, 3, 3]" in line and "--constant K=" in line
    points = "depth = Concat<axis = 1>(level, level, level)"
    file = write_foreign(tmp_path / "points.onnx", points, "float[1,3,28,42] depth")
    line = refusal(file, preset="depth-anything-3-mono")
    assert "has shape [1, 3, 28, 42]" in line and "--output points" in line
    assert "expected (1, channels" in refusal(
        write_foreign(tmp_path / "vector.onnx", "points = Flatten(level)", "float[1,1176] points"),
        preset="unidepth-v2",
    )


def test_a_graph_of_other_channels_or_axes(tmp_path: Path) -> None:
    """Four channels, three axes, and a map that is no smaller copy of the picture."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    foreign (float[1,{channels},28,42] x) => (float[1,28,36] depth) {{
        first = Constant<value = int64 {{0}}>()
        plane = Gather<axis = 1>(x, first)
        starts = Constant<value_ints = [0]>()
        ends = Constant<value_ints = [36]>()
        axes = Constant<value_ints = [2]>()
        depth = Slice(plane, starts, ends, axes)
    }}"""
    for channels, words in ((4, "takes 4 channels"), (3, "a map of 28x36")):
        model = onnx.parser.parse_model(text.format(channels=channels))
        onnx.save(model, tmp_path / "x.onnx")
        assert words in refusal(
            tmp_path / "x.onnx", normalise="none", output="depth", layout="nchw"
        )


def test_files_that_are_no_foreign_graph(tmp_path: Path) -> None:
    """Text, nothing, an own file, an old opset, a missing file."""
    (tmp_path / "text.onnx").write_text("not a model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("text", "empty"):
        assert "no ONNX" in refusal(tmp_path / f"{name}.onnx", preset="depth-anything")
    assert "cannot be read" in refusal(tmp_path / "none.onnx", preset="depth-anything")
    file = write_disparity(tmp_path / "da.onnx")
    depthkit.adopt(file, tmp_path / "own.onnx", preset="depth-anything")
    assert "is a file of depthkit already" in refusal(
        tmp_path / "own.onnx", preset="depth-anything"
    )
    model = onnx.load(file)
    model.opset_import[0].version = 9
    (tmp_path / "old.onnx").write_bytes(model.SerializeToString())
    assert "opset 9; export it with opset 11" in refusal(
        tmp_path / "old.onnx", preset="depth-anything"
    )


def test_a_graph_that_normalises_itself(tmp_path: Path) -> None:
    """Taking the mean off twice is refused with the numbers; --normalise none is right."""
    mean = ",".join(map(str, IMAGENET[0]))
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    foreign (float[1,3,28,56] image) => (float[1,28,56] predicted_depth)
    <float[1,3,1,1] mean = {{{mean}}}> {{
        off = Sub(image, mean)
        back = Add(off, mean)
        axes = Constant<value_ints = [1]>()
        predicted_depth = ReduceMean<axes = [1], keepdims = 0>(back)
    }}"""
    model = onnx.parser.parse_model(text)
    del model.graph.node[2]
    onnx.save(model, tmp_path / "m3d.onnx")
    line = refusal(tmp_path / "m3d.onnx", preset="metric3d-v2")
    assert "takes 123.675, 116.28, 103.53 off" in line and "--normalise none" in line
    done = depthkit.adopt(
        tmp_path / "m3d.onnx", tmp_path / "a.onnx", preset="metric3d-v2", normalise="none"
    )
    assert done.manifest.focal_rule == "f/1000"


def test_an_existing_file_stays(tmp_path: Path) -> None:
    """Without --force nothing is replaced; another suffix is refused."""
    file = write_disparity(tmp_path / "da.onnx")
    (tmp_path / "there.onnx").write_text("mine")
    with pytest.raises(DepthkitError, match="exists already"):
        depthkit.adopt(file, tmp_path / "there.onnx", preset="depth-anything")
    assert (tmp_path / "there.onnx").read_text() == "mine"
    with pytest.raises(DepthkitError, match="must end in .onnx"):
        depthkit.adopt(file, tmp_path / "there.pt", preset="depth-anything")


def test_graphs_of_old_and_new_exporters(tmp_path: Path) -> None:
    """Opset 11 with weights among the inputs, opset 20, and a branch inside the graph."""
    old = """<ir_version: 3, opset_import: ["" : 11]>
    foreign (float[1,3,28,42] frame, float[1] tenth) => (float[1,1,14,21] depth) {
        level = ReduceMean<axes = [1]>(frame)
        small = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(level)
        depth = Mul(small, tenth)
    }"""
    model = onnx.parser.parse_model(old)
    model.graph.initializer.append(numpy_helper.from_array(np.float32([0.1]), "tenth"))
    onnx.save(model, tmp_path / "old.onnx")
    branch = """<ir_version: 9, opset_import: ["" : 20]>
    foreign (float[N,3,28,42] frame) => (float[N,28,42] depth) {
        axes = Constant<value_ints = [1]>()
        level = ReduceMean<keepdims = 0>(frame, axes)
        yes = Constant<value = bool {1}>()
        depth = If (yes) <
            then_branch = t () => (float[N,28,42] a) {
                ten = Constant<value = float {10}>()
                a = Div(level, ten)
            },
            else_branch = e () => (float[N,28,42] b) { b = Identity(level) }
        >
    }"""
    onnx.save(onnx.parser.parse_model(branch), tmp_path / "branch.onnx")
    grey = np.full((*SIZE, 3), 70, np.uint8)
    grey[:, 20:] = 140
    for name in ("old", "branch"):
        out = tmp_path / f"{name}_a.onnx"
        depthkit.adopt(tmp_path / f"{name}.onnx", out, normalise="none", output="depth")
        with DepthEngine.open(out, backend="onnxruntime") as engine:
            depth = engine.depth(grey).depth
        assert np.allclose(depth[:, :18], 7, rtol=1e-4) and np.allclose(
            depth[:, 22:], 14, rtol=1e-4
        )


def test_adopting_needs_no_torch() -> None:
    """Nothing of the trainer is loaded."""
    code = "import depthkit.pipelines.adopt, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


# --- options --------------------------------------------------------------------------------------


def test_scalings_by_hand() -> None:
    """Words, and numbers in pixel values; shares of white are seen."""
    assert read_scaling("0..1").std == (255, 255, 255)
    assert read_scaling("-1..1").mean == (127.5, 127.5, 127.5)
    assert read_scaling("1,2,3/4,5,6").mean == (1, 2, 3)
    assert read_scaling("0/255").std == (255, 255, 255)
    for text, words in (
        ("0.485,0.456,0.406/0.229,0.224,0.225", "multiply both by 255"),
        ("1,2,3", "expected imagenet"),
        ("1,2/3,4", "expected imagenet"),
        ("1,2,3/0,5,6", "std must be above 0"),
        ("image-net", "expected imagenet"),
    ):
        with pytest.raises(DepthkitError, match=words):
            read_scaling(text)


def test_validity_and_constants_by_hand() -> None:
    """All rules together, and back to words; what is not understood is refused."""
    validity = read_validity("mask:mask>0.4,sky:s,max:80")
    assert (validity.mask_above, validity.sky_above, validity.most) == (0.4, 0.5, 80)
    assert str(validity) == "mask:mask>0.4,sky:s>0.5,max:80"
    assert str(read_validity("none")) == ""
    assert read_constants(("a=1,2", "b=3")) == {"a": (1, 2), "b": (3,)}
    for text in ("max", "max:x", "clouds:a", "mask:", "mask:a>x"):
        with pytest.raises(DepthkitError, match="--validity"):
            read_validity(text)
    with pytest.raises(DepthkitError, match="--constant"):
        read_constants(("a",))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Said(output="depth"), "needs --preset"),
        (Said(normalise="none"), "needs --preset"),
        (Said(normalise="none", output="canonical"), "needs --focal-rule"),
        (Said(normalise="none", output="depth", focal_rule="f/x"), "expected none, f/N"),
        (Said(normalise="none", output="depth", focal_rule="solve_shift"), "--output points"),
        (Said(normalise="none", output="disparity", focal_rule="f/9"), "denies them"),
        (Said(normalise="none", output="depth", unit=0.1), "--ambiguity none"),
    ],
)
def test_options_that_contradict_each_other(said: Said, words: str) -> None:
    """What is missing or does not go together is one line."""
    with pytest.raises(DepthkitError, match=words):
        combine(None, said)


def test_metres_are_never_assumed() -> None:
    """Whatever the output, without a word on it a scale is unknown; a new one resets a preset's."""
    for output in ("depth", "inverse", "log", "points"):
        assert combine(None, Said(normalise="none", output=output)).ambiguity == "scale"
    assert combine(None, Said(normalise="none", output="disparity")).ambiguity == "scale-and-shift"
    metric = Convention(ambiguity="none")
    assert combine(metric, Said(output="inverse")).ambiguity == "scale"
    assert combine(metric, Said(output="inverse", ambiguity="none")).ambiguity == "none"


def test_cameras_without_frames_and_unknown_words(tmp_path: Path) -> None:
    """--fov alone, two cameras, a slip in a preset, an unknown kind."""
    file = write_disparity(tmp_path / "da.onnx")
    for options, words in (
        ({"fov": 60}, "give --try"),
        ({"try_source": "demo", "fov": 60, "camera": "c.yaml"}, "one of the two"),
        ({"layout": "chw"}, "layout: expected one of"),
        ({"multiple": 0}, "multiple: 1 or more"),
    ):
        with pytest.raises(ConfigError, match=words):
            depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-anything", **options)
    assert "did you mean depth-anything" in refusal(file, preset="depth_anything")


# --- evidence -------------------------------------------------------------------------------------


def look(depth: float, *, scale: str = "metric", known: float = 1.0):
    """Return an engine whose depth is one number, known on a share of the rows."""
    manifest = SimpleNamespace(scale=scale, quantity="depth")

    def answer(rgb: np.ndarray, *, K: np.ndarray):
        height, width = rgb.shape[:2]
        valid = np.zeros((height, width), bool)
        valid[: round(known * height)] = True
        return SimpleNamespace(depth=np.full((height, width), depth, np.float32), valid=valid)

    return SimpleNamespace(manifest=manifest, depth=answer)


def test_values_out_of_range_are_seen() -> None:
    """Millimetres, fractions of a millimetre and empty maps; relative depth has no range."""
    frames = drawn_frames()[:1]
    assert check_range(look(4.0), frames) == []
    assert "median depth is 4e+03 m" in check_range(look(4000.0), frames)[0]
    assert "no metres" in check_range(look(0.004), frames)[0]
    assert check_range(look(4000.0, scale="relative"), frames) == []
    assert "known on 5% of the pixels looked at" in check_range(look(4.0, known=0.05), frames)[0]


def test_values_out_of_range_are_refused_at_the_door(tmp_path: Path) -> None:
    """A constant, an all-negative output and millimetres taken for metres write nothing."""
    negative = "minus = Neg(level)\n depth = Squeeze(minus, channel_axis)"
    file = write_foreign(tmp_path / "neg.onnx", negative, "float[1,28,42] depth", scaling=PLAIN)
    line = refusal(file, normalise="none", output="depth")
    assert "is known on 0% of a drawn picture" in line
    flat = "zero = Sub(level, level)\n one = Exp(zero)\n depth = Squeeze(one, channel_axis)"
    file = write_foreign(tmp_path / "one.onnx", flat, "float[1,28,42] depth", scaling=PLAIN)
    assert "is the same everywhere" in refusal(file, normalise="none", output="depth")
    file = write_foreign(
        tmp_path / "mm.onnx", divided("depth", 0.01), "float[1,28,42] depth", scaling=PLAIN
    )
    wrong = {"normalise": "none", "output": "depth", "ambiguity": "none"}
    assert "give --unit" in refusal(file, **wrong)
    done = depthkit.adopt(file, tmp_path / "a.onnx", **wrong, unit=0.001)
    assert done.manifest.scale == "metric"
    forced = depthkit.adopt(file, tmp_path / "b.onnx", **wrong, force=True)
    assert any(note.startswith("adopted by force: median depth") for note in forced.notes)


def write_truth(path: Path, size: tuple[int, int] = (120, 160)) -> Path:
    """Write a network that knows the flight: depth is blue / 10."""
    body = divided("predicted_depth", 10)
    height, width = size
    return write_foreign(
        path,
        body,
        f"float[1,{height},{width}] predicted_depth",
        size=size,
        scaling=PLAIN,
        weights=(0, 0, 1),
    )


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered flight whose frames carry their depth in blue: 10 grey levels a metre."""
    import cv2

    from depthkit.data.sequence import open_sequence
    from depthkit.synth.boxes import write_flight
    from depthkit.synth.path import camera_path

    folder = tmp_path_factory.mktemp("flight") / "flight"
    write_flight(folder, camera_path(14, 1, 0.12), (120, 160), seed=1)
    sequence = open_sequence(folder)
    for i, file in enumerate(sorted((folder / "frames").iterdir())):
        rgb, depth = sequence.read_frame(i), sequence.read_depth(i)
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        marked = np.dstack([np.clip(10 * depth, 1, 255).astype(np.uint8), grey, grey])  # BGR
        cv2.imwrite(str(file), marked)
    return folder


def test_near_and_far_the_right_way_round(tmp_path: Path, flight: Path) -> None:
    """A network that knows the depth is confirmed by the tracks; its rank correlation is high."""
    file = write_truth(tmp_path / "truth.onnx")
    done = depthkit.adopt(
        file, tmp_path / "a.onnx", normalise="none", output="depth", try_source=flight
    )
    (note,) = [one for one in done.notes if "rank correlation" in one]
    assert "the right way round" in note
    assert float(note.split("rank correlation ")[1].split()[0]) > 0.7


def test_depth_taken_for_disparity_is_refused(tmp_path: Path, flight: Path) -> None:
    """The same network called a disparity is inside out: refused, but for --force."""
    file = write_truth(tmp_path / "truth.onnx")
    wrong = {"normalise": "none", "output": "disparity", "try_source": flight}
    line = refusal(file, **wrong)
    assert "depth and disparity seem exchanged" in line and "give --output depth" in line
    assert "rank correlation -" in line and "--force adopts it all the same" in line
    forced = depthkit.adopt(file, tmp_path / "b.onnx", force=True, **wrong)
    assert any("adopted by force: depth and disparity" in note for note in forced.notes)


def test_frames_that_cannot_tell_are_said(tmp_path: Path, flight: Path) -> None:
    """No frames: a note how to give some; one picture: a note; a missing source: one line."""
    file = write_truth(tmp_path / "truth.onnx")
    plain = {"normalise": "none", "output": "depth"}
    done = depthkit.adopt(file, tmp_path / "a.onnx", **plain)
    assert any("order of depths not looked at" in note for note in done.notes)
    picture = sorted((flight / "frames").iterdir())[0]
    done = depthkit.adopt(file, tmp_path / "b.onnx", **plain, try_source=picture, fov=60)
    assert any("order of depths not compared" in note for note in done.notes)
    assert "nowhere" in refusal(file, **plain, try_source=tmp_path / "nowhere", out="c.onnx")


def test_a_network_that_tells_the_sky_may_know_nothing_of_drawings(tmp_path: Path) -> None:
    """Where sky takes 96 % of drawn pictures, that is a note; frames would decide."""
    body = (
        divided("depth", 10, drop=False)
        + """
        dark = Constant<value = float {40}>()
        bright = Greater(level, dark)
        sky = Cast<to=1>(bright)
    """
    )
    outputs = "float[1,1,28,42] depth, float[1,1,28,42] sky"
    file = write_foreign(tmp_path / "sky.onnx", body, outputs)
    done = depthkit.adopt(file, tmp_path / "a.onnx", preset="depth-anything-3-mono")
    assert any(note.startswith("depth is known on ") for note in done.notes)


# --- doors ----------------------------------------------------------------------------------------


def test_the_command_line_says_the_same(tmp_path: Path, capsys) -> None:
    """JSON of the program is that of the record; text names parity and what was not looked at."""
    from depthkit.pipelines.adopt import as_json

    file = write_depth(tmp_path / "m3d.onnx", size=(28, 56))
    words = [str(file), "--preset", "metric3d-v2", "--licence", "mine", "--pad-value", "1,2,3"]
    assert main(["adopt", *words, "--out", str(tmp_path / "a.onnx"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    done = depthkit.adopt(
        file, tmp_path / "b.onnx", preset="metric3d-v2", licence="mine", pad_value=(1, 2, 3)
    )
    mine = json.loads(json.dumps(as_json(done)))
    assert {**mine, "file": ""} == {**shown, "file": ""}
    assert (shown["scale"], shown["focal_rule"], shown["licence"]) == ("metric", "f/1000", "mine")
    assert read_manifest(tmp_path / "a.onnx").resize.value == (1, 2, 3)
    assert main(["adopt", *words, "--out", str(tmp_path / "c.onnx")]) == 0
    text = capsys.readouterr().out
    assert "onnxruntime-cpu" in text and "note: order of depths not looked at" in text


def test_lists_of_the_command_line_are_those_of_the_table() -> None:
    """Presets that --help shows are the presets that there are."""
    assert tuple(one.name for one in PRESETS) == command.PRESETS


def test_every_preset_is_consistent() -> None:
    """Each passes the checks of options, and its size is a multiple of its own divisor."""
    for preset in PRESETS:
        convention = combine(preset.convention, Said())
        assert all(side % convention.multiple == 0 for side in convention.size), preset.name
        assert preset.gives


def test_verify_infer_and_evaluate_take_it(tmp_path: Path, flight: Path) -> None:
    """An adopted file is a model as any other."""
    file = write_truth(tmp_path / "truth.onnx")
    out = tmp_path / "a.onnx"
    depthkit.adopt(file, out, normalise="none", output="depth", ambiguity="none")
    verify(out).require()
    done = depthkit.infer(out, flight, tmp_path / "maps", threads=1)
    assert (done.frames, done.coverage, done.scale) == (14, 1.0, "metric")
    # Depth is stored in steps of 0.1 m and clipped at 25.5 m.
    found = depthkit.evaluate.model(out, flight, threads=1)
    assert found.figures["abs_rel"] < 0.05
