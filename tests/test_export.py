# SPDX-License-Identifier: Apache-2.0
"""Export: each kind of network as one file that answers as torch does, and the verbs around it."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx_run import run_onnx
from small_run import small_config

from depthkit.cli import main
from depthkit.config.strict_yaml import to_mapping
from depthkit.errors import EngineError
from depthkit.export.calibration import read_calibration
from depthkit.export.convert import dead_parts, to_onnx
from depthkit.export.graphs import build_graph
from depthkit.export.lower import store_half, to_fp16
from depthkit.export.model import Options, difference, draw_inputs, export_model, run_torch
from depthkit.export.pictures import draw_views
from depthkit.export.quantize import quantizable, quantize, to_int8
from depthkit.models.checkpoint import save_checkpoint
from depthkit.runtime.network.backend import open_backend
from depthkit.runtime.network.manifest import Manifest, read_manifest, read_model, write_model
from depthkit.runtime.network.parity import stored_inputs
from depthkit.synth.boxes import write_box_sequence
from depthkit.tasks import build_task
from depthkit.tasks.loaded import LoadedTask, load_task

PAIR = ("task=supervised_pair", "model.depth=depthnet", "model.width=0.125", "data.shifts=[-3]")
MEASURED = (
    "task=stabilized_pair",
    "model.depth=depthnet",
    "model.width=0.125",
    "loss.auto_mask=false",
    "stabilized.orientation=measured",
)
SNIPPET = ("model.pose=posenet", "model.pose_input=snippet")


def save_small(path: Path, *words: str) -> Path:
    """Write a checkpoint of a small task whose statistics and weights are not those of a start."""
    config = small_config(Path("data"), *words)
    torch.manual_seed(0)
    task = build_task(config, tuple(config.data.shifts))
    for module in task.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)
            module.running_mean.normal_(0, 0.1)
    state = {
        "commit": "abc",
        "config": to_mapping(config),
        "shifts": list(config.data.shifts),
        "sequences": ["room"],
        "scale": "metric" if config.is_metric else "relative",
        "focal": 48.0,
    }
    save_checkpoint(path, {f"task.{k}": v for k, v in task.state_dict().items()}, state)
    return path


@pytest.fixture
def small(tmp_path):
    """Make and load a checkpoint."""

    def make(*words: str) -> LoadedTask:
        return load_task(save_small(tmp_path / "small.safetensors", *words))

    return make


@pytest.fixture(scope="module")
def pair_file(tmp_path_factory) -> Path:
    """An exported pair network, 64 x 96, f = 48."""
    folder = tmp_path_factory.mktemp("pair")
    checkpoint = save_small(folder / "pair.safetensors", *PAIR)
    export_model(load_task(checkpoint), folder / "pair.onnx")
    return folder / "pair.onnx"


def test_pair_network_carries_what_the_robot_needs(pair_file):
    """Kind, sizes, camera, baseline, range, scale, origin: all in the file."""
    manifest = read_manifest(pair_file)
    assert (manifest.kind, manifest.network, manifest.precision) == ("pair", "depthnet", "fp32")
    assert manifest.size == (64, 96) and manifest.dynamic and manifest.size_multiple == 1
    assert manifest.K == ((48, 0, 47.5), (0, 48, 31.5), (0, 0, 1)) and manifest.focal == 48
    assert (manifest.min_depth, manifest.max_depth) == (1e-2, 100)
    assert manifest.nominal_baseline == 0.3 and manifest.shifts == (-3,)
    assert manifest.scale == "metric" and "run time" in manifest.scale_source
    assert (manifest.commit, manifest.data) == ("abc", ("room",))
    assert manifest.config["model"]["width"] == 0.125 and manifest.tolerance == 1e-4
    assert set(manifest.created_with) >= {"depthkit", "torch", "onnx", "commit"}
    assert pair_file.with_suffix(".json").stat().st_size < 20_000


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("size", [(64, 96), (32, 33), (71, 130)])
def test_pair_network_answers_as_torch_does(pair_file, backend, size):
    """At any size, three at once: within 1e-4 of what training's network says there."""
    graph = build_graph(load_task(pair_file.with_suffix(".safetensors")), "depth", dynamic=True)
    three = [draw_inputs(graph, size, seed=seed) for seed in range(3)]
    inputs = {name: np.concatenate([one[name] for one in three]) for name in graph.inputs}
    answers = open_backend(pair_file, backend=backend).run(inputs)
    assert answers["depth"].shape == (3, *size) and answers["depth"].dtype == np.float32
    assert difference(answers, run_torch(graph, inputs))[0] < 1e-4


def test_pair_graph_is_the_predictors_depth(pair_file):
    """The graph at the nominal baseline says what `PairPredictor` says, sizes and limits alike."""
    from torch_predictors import load_predictor

    predictor = load_predictor(pair_file.with_suffix(".safetensors"))
    views = draw_views((70, 101))
    T = np.eye(4)
    T[0, 3] = predictor.nominal_baseline
    K = np.array([[48.0, 0, 50], [0, 48, 34.5], [0, 0, 1]])
    wanted = predictor.depth(views.earlier, views.later, T_current_previous=T, K=K)
    inputs = {"previous": views.earlier[None], "current": views.later[None]}
    depth = open_backend(pair_file).run(inputs)["depth"][0]
    assert depth == pytest.approx(wanted, rel=1e-4)


def test_single_frame_network_at_a_fixed_size(small, tmp_path):
    """Depth is 1 / the finest inverse depth; relative without labels; other sizes are not taken."""
    exported = export_model(small(), tmp_path / "mono.onnx")
    manifest = exported.manifest
    assert (manifest.kind, manifest.network, manifest.dynamic) == ("mono", "light", False)
    assert manifest.scale == "relative" and manifest.scale_source.startswith("none")
    assert (manifest.min_depth, manifest.max_depth) == (0.1, 100)
    assert exported.shapes_worst < 1e-4 and all(one.holds for one in exported.parities)
    loaded, rgb = small(), draw_views((64, 96), seed=5).earlier
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        wanted = 1 / loaded.task.depth_net(image)[0][0, 0].numpy()
    depth = open_backend(tmp_path / "mono.onnx").run({"frame": rgb[None]})["depth"][0]
    assert depth == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    "words",
    [
        ("model.depth=light",),
        pytest.param(("model.depth=dispnet",), marks=pytest.mark.slow),  # 31 million weights
        ("task=shading", "model.depth=shading", "model.max_depth=0.25", "supervised.max_depth=0.25",
         "model.min_depth=0.001"),
    ],
)  # fmt: skip
def test_single_frame_network_at_any_size(small, words):
    """With free sides the graph agrees with torch at sizes that are multiples of nothing."""
    graph = build_graph(small(*words), "depth", dynamic=True)
    pictures = [draw_inputs(graph, (64, 96), seed=seed) for seed in (1, 2)]
    twice = {"frame": np.concatenate([one["frame"] for one in pictures])}
    model = to_onnx(graph, twice)
    for size in ((64, 96), (85, 71)):
        frame = draw_inputs(graph, size, seed=3)
        assert difference(run_onnx(model, frame), run_torch(graph, frame))[0] < 1e-4


@pytest.mark.parametrize("network", ["light", "posenet", "flow"])
def test_pose_networks(small, tmp_path, network):
    """Pairs in time order give the six numbers; the one on flow takes it as an input."""
    loaded = small(f"model.pose={network}")
    exported = export_model(loaded, tmp_path / "pose.onnx", Options(part="pose"))
    manifest = exported.manifest
    assert (manifest.kind, manifest.network) == ("pose", network) and manifest.max_depth is None
    assert manifest.flow == ("dis_medium" if network == "flow" else None)
    views = draw_views((64, 96), seed=4)
    inputs = {"earlier": views.earlier[None], "later": views.later[None]}
    flow = views.flow[None]
    frames = np.concatenate([inputs["earlier"], inputs["later"]], 3).transpose(0, 3, 1, 2)
    stacked = torch.from_numpy(frames) / 255
    extra = () if network != "flow" else (torch.from_numpy(flow),)
    with torch.no_grad():
        wanted = loaded.task.pose_net(stacked, *extra).motions[0].numpy()
    engine = open_backend(tmp_path / "pose.onnx")
    answers = engine.run(inputs | ({"flow": flow} if network == "flow" else {}))
    assert answers["motion"].shape == (1, 6)
    assert difference(answers, {"motion": wanted})[0] < 1e-4


@pytest.mark.parametrize(
    ("words", "options", "line"),
    [
        (SNIPPET, {"part": "pose"}, "takes whole snippets of 3 frames"),
        (PAIR, {"part": "pose"}, "learnt depth alone"),
        (MEASURED, {"part": "pose"}, "turned alike by the measured orientation"),
        ((), {"part": "pose", "dynamic": True}, "knows one size"),
        ((), {"precision": "int8"}, "give --calibration"),
        ((), {"opset": 17}, "opset must be one of 18"),
    ],
)
def test_what_cannot_be_exported_is_one_line(small, tmp_path, words, options, line):
    """Nothing is written then."""
    with pytest.raises(EngineError, match=line) as caught:
        export_model(small(*words), tmp_path / "x.onnx", Options(**options))
    assert "\n" not in str(caught.value) and not list(tmp_path.glob("*.onnx"))


def test_half_weights_of_16_bits_have_no_place():
    """Two ways to make a file small exclude each other."""
    with pytest.raises(EngineError, match="leave one of the two out"):
        Options(precision="fp16", half_weights=True)


def test_nothing_of_training_is_left(pair_file):
    """No part of the graph is unused, named after this machine, or normalises a batch."""
    model = onnx.ModelProto.FromString(read_model(pair_file).model)
    assert dead_parts(model) == [] and not model.functions
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert len([n for n in model.graph.node if n.op_type == "Conv"]) == 19  # coarse heads feed on
    text = read_model(pair_file).model
    assert b"/work" not in text and b"site-packages" not in text
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_dead_parts_are_found(pair_file):
    """A weight and a node that reach no output are named."""
    model = onnx.ModelProto.FromString(read_model(pair_file).model)
    model.graph.initializer.add(name="forgotten", data_type=1, dims=[0])
    model.graph.node.append(onnx.helper.make_node("Relu", ["depth"], ["unused"], name="spare"))
    assert dead_parts(model) == ["spare", "forgotten"]


# --- fewer bits ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair_graph(pair_file) -> onnx.ModelProto:
    """The graph of the exported pair network."""
    return onnx.ModelProto.FromString(read_model(pair_file).model)


def test_fp16_graph_keeps_pixels_and_heads(pair_file, pair_graph):
    """Weights are halved, inputs and outputs are as before, the median moves by little."""
    half = to_fp16(pair_graph)
    onnx.checker.check_model(half)
    kinds = [tensor.data_type for tensor in half.graph.initializer if len(tensor.dims) == 4]
    assert kinds.count(onnx.TensorProto.FLOAT16) == 18  # 14 convolutions, 4 that double the size
    assert kinds.count(onnx.TensorProto.FLOAT) == 9  # 5 heads, 4 that raise a depth
    assert half.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert len(half.SerializeToString()) < 0.55 * len(pair_graph.SerializeToString())
    inputs = stored_inputs(read_manifest(pair_file).check)
    worst, median = difference(run_onnx(half, inputs), run_onnx(pair_graph, inputs))
    assert 0 < median < 5e-3 and worst < 0.1


def test_half_weights_change_nothing_once_rounded(small, tmp_path):
    """Half the file, 32 bits at work: the worst difference from torch stays within 1e-4."""
    whole = export_model(small(*PAIR), tmp_path / "whole.onnx")
    small_one = export_model(small(*PAIR), tmp_path / "half.onnx", Options(half_weights=True))
    assert small_one.bytes < 0.65 * whole.bytes
    assert small_one.manifest.precision == "fp32" and small_one.manifest.tolerance == 1e-4
    assert all(one.holds for one in small_one.parities)
    assert 0 < small_one.rounding[1] < 5e-3


def test_stored_halves_lose_nothing(pair_graph):
    """Only weights that are 16-bit numbers are stored so: of others every bit is kept."""
    same = store_half(pair_graph)
    assert {t.data_type for t in same.graph.initializer if len(t.dims) == 4} == {1}


def test_int8_convolutions(small, tmp_path):
    """Calibrated on a sequence, most convolutions are in 8 bits and the median holds."""
    write_box_sequence(tmp_path / "room", 8, (64, 96), seed=0)
    exported = export_model(
        small(*PAIR),
        tmp_path / "int8.onnx",
        Options(precision="int8"),
        calibration=partial(read_calibration, tmp_path / "room"),
    )
    few, many = exported.in_8_bits
    assert 0 < few <= many == 13 and exported.manifest.precision == "int8"
    ops = [n.op_type for n in onnx.load(tmp_path / "int8.onnx").graph.node]
    assert ops.count("QuantizeLinear") >= few
    assert all(one.holds and one.statistic == "median" for one in exported.parities)


def test_int8_touches_the_named_convolutions_alone(pair_graph, pair_file):
    """One named convolution: one tensor of 8-bit weights."""
    inputs = stored_inputs(read_manifest(pair_file).check)
    one = to_int8(pair_graph, [inputs], quantizable(pair_graph)[3:4])
    weights = [t for t in one.graph.initializer if t.data_type == 3 and len(t.dims) == 4]
    assert len(weights) == 1


def test_int8_takes_the_blocks_that_hurt_least(pair_graph, pair_file):
    """Blocks are kept while the squares of their errors fit; if none fits, one line."""
    inputs = stored_inputs(read_manifest(pair_file).check)
    names = quantizable(pair_graph)

    def hurt(model: onnx.ModelProto) -> float:
        """Say 4 of each 8-bit convolution of the upper half of the network, 1 of the lower."""
        convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
        eight = [n.name for n in convolutions if "Dequantize" in n.input[1]]
        return float(np.linalg.norm([4 if names.index(name) >= 7 else 1 for name in eight]))

    _, (few, many) = quantize(pair_graph, [inputs], hurt, allowed=3.0)
    assert (few, many) == (6, 13)  # three blocks of two, 2.4 together; the next would make 4.7
    with pytest.raises(EngineError, match="even in an eighth"):
        quantize(pair_graph, [inputs], hurt, allowed=0.5)


def test_calibration_reads_what_the_network_takes(tmp_path):
    """Frames at the size of the training; pairs at its focal length, as far apart as its shift."""
    write_box_sequence(tmp_path / "room", 6, (64, 96), seed=0)
    manifest = Manifest("mono", "light", (48, 64), "relative", "", None, 1e-4)
    frames = read_calibration(tmp_path / "room", manifest)
    assert len(frames) == 6 and frames[0]["frame"].shape == (1, 48, 64, 3)
    pair = replace(manifest, kind="pair", shifts=(-4,), focal=48.0)
    assert len(read_calibration(tmp_path / "room", pair)) == 2
    flow = replace(manifest, kind="pose", shifts=(-1, 1), flow="dis_medium")
    inputs = read_calibration(tmp_path / "room", flow)[0]
    assert inputs["flow"].shape == (1, 2, 48, 64) and inputs["flow"].dtype == np.float32


@pytest.mark.slow
def test_both_exporters_of_torch_say_the_same(pair_file, pair_graph):
    """The day torch drops the faster one, the other is there and known to work."""
    graph = build_graph(load_task(pair_file.with_suffix(".safetensors")), "depth", dynamic=True)
    inputs = draw_inputs(graph, (64, 96))
    twice = {name: np.concatenate([array] * 2) for name, array in inputs.items()}
    newer = to_onnx(graph, twice, dynamo=True)
    other = draw_inputs(graph, (71, 130), seed=1)
    assert difference(run_onnx(newer, other), run_onnx(pair_graph, other))[0] < 1e-4


# --- pictures ------------------------------------------------------------------------------------


def test_stored_pictures_are_pictures_and_small():
    """Same seed, same views; texture everywhere; the flow says where the earlier one lies."""
    views, again = draw_views((64, 96)), draw_views((64, 96))
    assert all(np.array_equal(a, b) for a, b in zip(views, again, strict=True))
    assert views.earlier.std() > 30 and not np.array_equal(views.earlier, views.later)
    v, u = np.indices((64, 96))
    there = np.rint(u + views.flow[0]).astype(int)
    seen = there >= 0
    same = (views.later[v[seen], there[seen]] == views.earlier[seen]).all(-1)
    assert same.mean() > 0.7  # all but what is hidden, and rims


# --- the verbs -----------------------------------------------------------------------------------


def test_verbs_export_and_verify(tmp_path, capsys):
    """A file is written, verified here, and not overwritten; --json is one object each."""
    checkpoint = save_small(tmp_path / "pair.safetensors", *PAIR)
    out = tmp_path / "pair.onnx"
    assert main(["export", str(checkpoint), "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["kind"] == "pair" and all(one["holds"] for one in record["parity"])
    assert main(["export", str(checkpoint), "--out", str(out)]) == 1
    assert "exists already; use --force" in capsys.readouterr().err
    assert main(["verify", str(out)]) == 0
    table = capsys.readouterr().out
    assert "onnxruntime-cpu        fp32" in table and "OK" in table and "FAILED" not in table
    assert main(["verify", str(out), "--backend", "onnxruntime", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["ok"] and record["checks"][0]["backend"] == "onnxruntime-cpu"


def test_verify_fails_on_a_perturbed_engine(pair_file, tmp_path, capsys):
    """One weight changed by a tenth and the hash made anew: a table, one line, exit 1."""
    file = read_model(pair_file)
    model = onnx.ModelProto.FromString(file.model)
    weight = next(t for t in model.graph.initializer if len(t.dims) == 4 and t.dims[0] > 1)
    values = 1.1 * onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), weight.name))
    write_model(tmp_path / "bad.onnx", file.manifest, model.SerializeToString())
    assert main(["verify", str(tmp_path / "bad.onnx")]) == 1
    done = capsys.readouterr()
    assert "FAILED" in done.out and done.err.count("\n") == 1
    assert "allowed 0.0001" in done.err


def test_verify_refuses_a_tampered_file(pair_file, tmp_path, capsys):
    """One flipped bit: one line with both hashes, and no table."""
    data = bytearray(pair_file.read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "bad.onnx").write_bytes(data)
    assert main(["verify", str(tmp_path / "bad.onnx")]) == 1
    done = capsys.readouterr()
    assert done.out == "" and "sha256 should be" in done.err and done.err.count("\n") == 1


def test_export_writes_both_or_nothing(pair_file, tmp_path, monkeypatch, capsys):
    """If a backend does not agree, no file appears, and an earlier one stays."""
    from depthkit.export import model as steps

    checkpoint, out = pair_file.with_suffix(".safetensors"), tmp_path / "pair.onnx"
    out.write_text("earlier")
    monkeypatch.setattr(
        steps, "_parity", lambda path, *case: replace(steps.Parity(1, 1, 1e-4, "x", "fp32"))
    )
    assert main(["export", str(checkpoint), "--out", str(out), "--force"]) == 1
    assert "not written: x in fp32" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["pair.onnx"]
    assert out.read_text() == "earlier"


@pytest.mark.parametrize(
    ("out", "line"), [("model.pt", "must end in .onnx"), ("folder.onnx", "is a folder")]
)
def test_export_refuses_other_places(pair_file, tmp_path, capsys, out, line):
    """A name of another format and a folder are one line each."""
    (tmp_path / "folder.onnx").mkdir()
    words = ["export", str(pair_file.with_suffix(".safetensors")), "--out", str(tmp_path / out)]
    assert main(words) == 1
    assert line in capsys.readouterr().err
