# SPDX-License-Identifier: Apache-2.0
"""The weights that come with depthkit: small, documented, loadable by name, and worth having."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors import safe_open

from depthkit.cli import main
from depthkit.data.flow_pairs import find_flow_pairs
from depthkit.errors import EngineError
from depthkit.rigid import inverse
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.one_pair import depth_of_pair
from depthkit.runtime.flow.flow_engine import FlowEngine
from depthkit.runtime.network.manifest import SHIPPED, read_manifest
from depthkit.synth.boxes import write_box_sequence
from depthkit.synth.colon import ColonOptions, make_colon_scene
from depthkit.synth.render import open_renderer
from depthkit.synth.stillbox import StillboxOptions, make_stillbox_scene

NAMES = (
    "depthnet-stillbox",
    "flow-synthetic",
    "keypoints-light",
    "place-synthetic",
    "shading-colon",
    "sweepnet-stillbox",
)


@pytest.mark.parametrize("name", NAMES)
def test_file_is_small_and_has_a_card(name):
    """Under 12 MB each, with a card that names data, recipe, commit and figures."""
    for suffix in (".safetensors", ".onnx"):
        assert (SHIPPED / f"{name}{suffix}").stat().st_size < 12e6
    card = (SHIPPED / f"{name}.md").read_text(encoding="utf-8")
    for word in ("## Data", "## Recipe", "## Figures", "## Limits", "commit"):
        assert word in card, word


@pytest.mark.parametrize("name", NAMES)
def test_state_names_no_place_of_a_machine(name):
    """The header carries configuration and commit, and no path of the machine that trained."""
    with safe_open(SHIPPED / f"{name}.safetensors", framework="pt") as file:
        text = file.metadata()["depthkit"]
    state = json.loads(text)
    assert state["config"]["data"]["root"] == "data" and state["config"]["model"]["init"] is None
    assert state["scale"] == (
        "relative" if name.startswith(("flow", "keypoints", "place")) else "metric"
    )
    assert state["commit"]
    assert "/work" not in text and "/home" not in text and "/tmp" not in text


@pytest.mark.parametrize("name", NAMES)
def test_exported_file_is_that_of_the_weights(name):
    """What runs and what training starts from are one network: same commit, same configuration."""
    with safe_open(SHIPPED / f"{name}.safetensors", framework="pt") as file:
        state = json.loads(file.metadata()["depthkit"])
    manifest = read_manifest(Path(name))
    assert (manifest.commit, manifest.scale) == (state["commit"], state["scale"])
    assert dict(manifest.config) == state["config"]


def test_shading_network_beats_a_constant():
    """On two colons it has never seen, most pixels are within 25 %, metres without scaling."""
    engine, renderer = DepthEngine.open("shading-colon"), open_renderer()
    within, constant = [], []
    for seed in range(950_000_000, 950_000_006):
        scene = make_colon_scene(ColonOptions(level=5), seed, frames=1, size=(128, 128))
        renderer.load(scene)
        render = renderer.render(0)
        known = (render.depth > 0) & (render.depth < 0.25)
        truth, depth = render.depth[known], engine.depth(render.rgb).depth[known]
        within.append(_within(depth, truth))
        constant.append(_within(np.median(truth), truth))
    assert np.mean(within) > 0.75 > np.mean(constant) + 0.2


def test_pair_network_beats_a_constant_and_refuses_to_stand_still():
    """On boxes it has never seen, 0.3 m apart: the error is well below the best constant's."""
    engine, renderer = DepthEngine.open("sweepnet-stillbox"), open_renderer()
    errors, constant = [], []
    for seed in (950_000_001, 950_000_002, 950_000_003):
        scene = make_stillbox_scene(StillboxOptions(), seed, frames=6, size=(128, 128))
        renderer.load(scene)
        first, last = renderer.render(0), renderer.render(5)
        T = inverse(scene.T_world_cam[5]) @ scene.T_world_cam[0]
        assert np.linalg.norm(T[:3, 3]) == pytest.approx(engine.manifest.nominal_baseline)
        pair, K = (first.rgb, last.rgb), scene.camera.K
        depth = depth_of_pair(engine, *pair, T_current_previous=T, K=K).depth
        errors.append(np.abs(depth - last.depth).mean())
        constant.append(np.abs(np.median(last.depth) - last.depth).mean())
    assert np.mean(errors) < 0.75 * np.mean(constant)
    with pytest.raises(EngineError, match="no motion"):
        depth_of_pair(engine, *pair, T_current_previous=np.eye(4), K=K)


def _error(flow: np.ndarray, truth: np.ndarray) -> float:
    """Mean end-point error, pixels, where the truth is known."""
    return float(np.nanmean(np.linalg.norm(flow - truth, axis=-1)))


def test_flow_network_on_middlebury(data_root):
    """On real pairs, without having seen any: in the mean below DIS, which has 2.51 px there."""
    with FlowEngine.open("flow-synthetic") as engine:
        errors = {
            name: _error(engine.flow(*pair.read_frames()).flow, pair.read_flow())
            for name, pair in find_flow_pairs(data_root / "middlebury_flow").items()
        }
    assert len(errors) == 4 and np.mean(list(errors.values())) < 2.3


@pytest.mark.slow
def test_flow_network_beats_classical_flow(tmp_path):
    """On worlds it has never seen, at another size than it learnt at: below OpenCV's DIS."""
    street = ("--set", "speed=[3,9]", "moving=0.5")
    for world, settings in (("street", street), ("stillbox", ())):
        words = ["synth", world, "--out", str(tmp_path), "--scenes", "3", "--frames", "3"]
        assert (
            main([*words, "--size", "192x256", "--seed", "950", "--split", "test", *settings]) == 0
        )
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    errors = []
    with FlowEngine.open("flow-synthetic") as engine:
        for pair in find_flow_pairs(tmp_path).values():
            first, second = pair.read_frames()
            grey = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in (first, second))
            flows = (engine.flow(first, second).flow, search.calc(*grey, None))
            errors.append([_error(flow, pair.read_flow()) for flow in flows])
    assert len(errors) == 12
    network, classical = np.mean(errors, axis=0)
    assert network < 0.9 * classical


def _within(depth: np.ndarray, truth: np.ndarray) -> float:
    return float((np.maximum(depth / truth, truth / depth) < 1.25).mean())


def test_squeezed_frames_are_said(tmp_path, capsys):
    """The shading network learnt squares: 48x64 frames are squeezed, which one note says."""
    write_box_sequence(tmp_path / "room", 2, (48, 64), seed=0)
    words = ["infer", "shading-colon", str(tmp_path / "room"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert capsys.readouterr().err.count("frames are 64x48, the network learnt 128x128") == 1


def test_a_depth_network_is_not_asked_for_a_trajectory(tmp_path, capsys):
    """`infer --trajectory` of a network without motion is one line, and writes nothing."""
    write_box_sequence(tmp_path / "room", 2, (48, 64), seed=0)
    words = ["infer", "shading-colon", str(tmp_path / "room"), "--out", str(tmp_path / "out")]
    assert main([*words, "--trajectory", "tum"]) == 1
    assert "has no pose network beside; give --pose MODEL" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
