# SPDX-License-Identifier: Apache-2.0
"""Export of flow networks: plain operators that answer as torch does, and the law of a coop run."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx_run import run_onnx
from small_run import small_config
from test_export import save_small

from depthkit.cli import main
from depthkit.errors import EngineError
from depthkit.export.calibration import read_calibration
from depthkit.export.describe import static_law
from depthkit.export.graphs import build_graph
from depthkit.export.lower import firsts, heads, to_fp16
from depthkit.export.model import Options, difference, draw_inputs, export_model, run_torch
from depthkit.export.pictures import draw_views
from depthkit.export.quantize import quantizable
from depthkit.models.checkpoint import read_checkpoint, save_checkpoint
from depthkit.runtime.flow.flow_engine import FlowEngine
from depthkit.runtime.network.backend import open_backend
from depthkit.runtime.network.manifest import (
    Mixture,
    StaticLaw,
    manifest_from_json,
    read_manifest,
    read_model,
)
from depthkit.synth.boxes import write_box_sequence
from depthkit.tasks.loaded import load_task

WORDS = ("model.flow_width=0.25", "data.size=[72,100]")  # 72 and 100 are no multiples of 64
DELTA, GAP = (0.5, 0.25, 2.0, 0.125), (0.25, 0.5, 2.0, 0.25)


def save_flow(path: Path, *words: str, spread: float = 0.03) -> Path:
    """Write a checkpoint whose flow is not the zero of a start, and whose law is not either."""
    save_small(path, *WORDS, *words)
    tensors, state = read_checkpoint(path)
    torch.manual_seed(1)
    tensors["task.flow_net.head.weight"].normal_(std=spread)
    if "task.delta.law" in tensors:
        tensors |= {"task.delta.law": torch.tensor(DELTA), "task.gap.law": torch.tensor(GAP)}
        tensors |= {f"task.{name}.fitted": torch.tensor(True) for name in ("delta", "gap")}
    if "task.mask_net.head.conv.weight" in tensors:  # nor is what it says of looks one number
        tensors["task.mask_net.head.conv.weight"].normal_(std=5)
    return save_checkpoint(path, tensors, state) or path


@pytest.fixture(scope="module")
def coop_file(tmp_path_factory) -> Path:
    """The exported flow of a coop run, 72 x 100; its checkpoint lies beside."""
    folder = tmp_path_factory.mktemp("coop")
    checkpoint = save_flow(folder / "coop.safetensors", "task=coop")
    export_model(load_task(checkpoint), folder / "coop.onnx", Options(part="flow"))
    return folder / "coop.onnx"


@pytest.fixture(scope="module")
def model(coop_file) -> onnx.ModelProto:
    """Its graph."""
    return onnx.ModelProto.FromString(read_model(coop_file).model)


def test_flow_network_carries_what_the_robot_needs(coop_file):
    """Kind, size, no depth, and the law by which the run tells what moves."""
    manifest = read_manifest(coop_file)
    assert (manifest.kind, manifest.network, manifest.precision) == ("flow", "pwc", "fp32")
    assert manifest.size == (72, 100) and not manifest.dynamic and manifest.size_multiple == 1
    assert manifest.static_law == StaticLaw(
        "photometric", Mixture(*DELTA), Mixture(*GAP), ssim_weight=0.85, window=5
    )
    assert manifest.max_depth is manifest.min_depth is None and manifest.tolerance == 1e-4
    assert "pixels" in manifest.scale_source
    record = json.loads(coop_file.with_suffix(".json").read_text())
    assert manifest_from_json(record, coop_file) == manifest
    del record["static_law"]["ratio"]
    assert manifest_from_json(record, coop_file) == manifest  # a difference, where none is named


@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.slow)])
def test_a_mask_network_goes_with_the_flow(tmp_path, precision):
    """One file, two answers, both stored and verified; the odds are those of the first frame."""
    checkpoint = save_flow(tmp_path / "x.safetensors", "task=coop", "coop.mask_weight=1")
    loaded = load_task(checkpoint)
    frame = draw_views((72, 100), seed=5).earlier
    with torch.no_grad():
        image = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255
        wanted = loaded.task.mask_net(image)[0, 0].numpy()
    exported = export_model(loaded, tmp_path / "x.onnx", Options(part="flow", precision=precision))
    assert set(exported.manifest.check.outputs) == {"flow", "static_odds"}
    assert exported.manifest.static_law.temper == 0.3
    with FlowEngine.open(tmp_path / "x.onnx") as engine:
        first, other = (
            engine.network_flow(frame, later)
            for later in (frame, draw_views((72, 100), seed=6).later)
        )
    assert first.flow.shape == (72, 100, 2) and first.static_odds.shape == (72, 100)
    assert np.array_equal(first.static_odds, other.static_odds)
    worst = np.abs(first.static_odds - wanted).max()
    assert worst < (1e-4 if precision == "fp32" else 0.05) and wanted.std() > 0.5
    assert main(["verify", str(tmp_path / "x.onnx")]) == 0
    graph = onnx.ModelProto.FromString(read_model(tmp_path / "x.onnx").model)
    assert {name.split("/")[1] for name in firsts(graph)} == {"net", "mask_net"}
    assert not set(quantizable(graph)) & (firsts(graph) | heads(graph))


def test_the_law_says_how_errors_were_compared(tmp_path):
    """A run by the ratio of errors exports it, with both kinds of evidence."""
    words = ("task=coop", "coop.delta=ratio", "coop.evidence=both", "coop.window=9")
    law = static_law(load_task(save_flow(tmp_path / "ratio.safetensors", *words)))
    mixtures = Mixture(*DELTA), Mixture(*GAP)
    assert law == StaticLaw("both", *mixtures, ssim_weight=0.85, window=9, ratio=True)


def test_a_run_without_a_law_has_none(tmp_path):
    """Task flow learns none; a coop run of no step has none yet."""
    flow = save_small(tmp_path / "flow.safetensors", *WORDS, "task=flow")
    coop = save_small(tmp_path / "coop.safetensors", *WORDS, "task=coop")
    assert static_law(load_task(flow)) is static_law(load_task(coop)) is None


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_flow_is_what_torch_says(coop_file, backend):
    """Two pairs at once, sides that are no multiples of the stride: within 1e-4, in order."""
    loaded = load_task(coop_file.with_suffix(".safetensors"))
    graph = build_graph(loaded, "flow", dynamic=False)
    two = [draw_inputs(graph, (72, 100), seed=seed) for seed in (3, 4)]
    inputs = {name: np.concatenate([one[name] for one in two]) for name in graph.inputs}
    answers = open_backend(coop_file, backend=backend).run(inputs)
    flow = answers["flow"]
    assert flow.shape == (2, 2, 72, 100) and flow.dtype == np.float32
    assert difference(answers, run_torch(graph, inputs))[0] < 1e-4 and np.abs(flow).max() > 2
    frames = np.concatenate([inputs["earlier"], inputs["later"]], 3).transpose(0, 3, 1, 2)
    with torch.no_grad():
        wanted = loaded.task.flow_net(torch.from_numpy(frames) / 255)[0].numpy()
    assert np.abs(flow - wanted).max() < 1e-4 * max(1, np.abs(wanted).max())


def test_engine_answers_at_the_camera_s_size(coop_file):
    """From the file to (H, W, 2) in the camera's pixels; twice the size, twice the vectors."""
    views = draw_views((144, 200), seed=2)
    with FlowEngine.open(coop_file) as engine:
        large = engine.flow(views.earlier, views.later).flow
        small = [engine.network_frame(rgb) for rgb in (views.earlier, views.later)]
        wanted = engine.flow(*small).flow
    assert large.shape == (144, 200, 2) and wanted.shape == (72, 100, 2)
    middle = large.reshape(72, 2, 100, 2, 2).mean(axis=(1, 3))
    assert np.abs(middle / 2 - wanted).mean() < 0.05 * np.abs(wanted).mean()


def test_operators_are_onnx_s_own(model):
    """Nothing that a runtime would need an extension for."""
    assert {node.domain for node in model.graph.node} == {""} and len(model.opset_import) == 1


def test_graph_is_small(model):
    """A cost volume shift by shift would be thousands of nodes, which runtimes open in a minute."""
    assert len(model.graph.node) < 1200


def test_fp16_places_nothing_by_16_bits(model):
    """Heads and all that leads to a position stay in 32 bits; the rest is halved."""
    half = to_fp16(model)
    onnx.checker.check_model(half)
    assert len(heads(model)) == 5  # one network, asked at five levels
    halves = {name for node in half.graph.node for name in node.output if name.endswith(".half")}
    made = {
        tensor.name: tensor.type.tensor_type.elem_type
        for tensor in onnx.shape_inference.infer_shapes(half).graph.value_info
    }
    samplers = [node for node in half.graph.node if node.op_type == "GridSample"]
    assert len(samplers) == 5 and halves
    assert {made[node.input[1]] for node in samplers} == {onnx.TensorProto.FLOAT}
    inputs = {name: one[None] for name, one in zip(("earlier", "later"), draw_views((72, 100))[:2],
                                                   strict=True)}  # fmt: skip
    worst, median = difference(run_onnx(half, inputs), run_onnx(model, inputs))
    assert 0 < median < 5e-3 and worst < 0.1


@pytest.mark.slow
def test_int8_convolutions(tmp_path):
    """Calibrated on pairs of a sequence, some convolutions are in 8 bits and the median holds."""
    write_box_sequence(tmp_path / "room", 4, (72, 100), seed=0)
    checkpoint = save_flow(tmp_path / "flow.safetensors", "task=flow", spread=0.001)
    exported = export_model(
        load_task(checkpoint),
        tmp_path / "int8.onnx",
        Options(part="flow", precision="int8"),
        calibration=partial(read_calibration, tmp_path / "room"),
    )
    few, many = exported.in_8_bits
    assert 0 < few <= many and exported.manifest.precision == "int8"
    assert all(one.holds and one.statistic == "median" for one in exported.parities)


@pytest.mark.parametrize("part", ["depth", "pose"])
def test_depth_and_pose_of_a_coop_run(coop_file, tmp_path, part):
    """As of a run of view_synthesis: same kinds, same words, and no law."""
    loaded = load_task(coop_file.with_suffix(".safetensors"))
    manifest = export_model(loaded, tmp_path / "x.onnx", Options(part=part)).manifest
    plain = load_task(save_small(tmp_path / "plain.safetensors", *WORDS, "task=view_synthesis"))
    wanted = export_model(plain, tmp_path / "y.onnx", Options(part=part)).manifest
    assert manifest.static_law is None
    for name in ("kind", "network", "size", "scale", "scale_source", "min_depth", "max_depth"):
        assert getattr(manifest, name) == getattr(wanted, name)


def test_metres_of_a_coop_run_are_those_of_known_baselines(tmp_path):
    """The words are those of view_synthesis."""
    from depthkit.export.describe import name_scale

    words = ("task=coop", "loss.baseline_weight=1")
    assert small_config(Path("data"), *words).is_metric
    loaded = load_task(save_small(tmp_path / "x.safetensors", *WORDS, *words))
    graph = build_graph(loaded, "depth", dynamic=False)
    assert name_scale(loaded, graph) == ("metric", "known baselines in training")


def test_one_size_alone(coop_file, tmp_path):
    """--dynamic is refused with one line."""
    loaded = load_task(coop_file.with_suffix(".safetensors"))
    with pytest.raises(EngineError, match="run at one size; export it without --dynamic"):
        export_model(loaded, tmp_path / "x.onnx", Options(part="flow", dynamic=True))


@pytest.mark.parametrize(
    ("words", "part", "line"),
    [
        (
            ("task=flow",),
            "depth",
            r"learnt flow alone, no depth; take its flow \(export --part flow",
        ),
        (("task=flow",), "pose", "learnt flow alone, no pose; take its flow"),
        ((), "flow", "task view_synthesis learnt depth and motion, no flow; take its depth"),
    ],
)
def test_what_a_run_has_not_is_one_line(tmp_path, words, part, line):
    """A part that is not there, and the one that is."""
    loaded = load_task(save_small(tmp_path / "small.safetensors", *WORDS, *words))
    with pytest.raises(EngineError, match=line):
        export_model(loaded, tmp_path / "x.onnx", Options(part=part))
    assert not list(tmp_path.glob("*.onnx"))


def test_verbs_know_flow(coop_file, tmp_path, capsys):
    """export --part flow, verify and bench run; bench scores no depth of it."""
    checkpoint, out = coop_file.with_suffix(".safetensors"), tmp_path / "flow.onnx"
    assert main(["export", str(checkpoint), "--part", "flow", "--out", str(out)]) == 0
    assert "flow (pwc), fp32, 100x72" in capsys.readouterr().out
    assert main(["verify", str(out), "--backend", "onnxruntime"]) == 0
    assert "OK" in capsys.readouterr().out
    words = ["bench", str(out), "--backend", "onnxruntime", "--runs", "3", "--json"]
    assert main(words) == 0
    bench = json.loads(capsys.readouterr().out)
    assert bench["kind"] == "flow" and bench["rows"][0]["network_ms"] > 0
    assert main([*words, "--sequence", str(tmp_path)]) == 1
    assert "this is a flow network" in capsys.readouterr().err
