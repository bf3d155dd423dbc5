# SPDX-License-Identifier: Apache-2.0
"""Pairs at work: metres by the known distance, rotation taken out, focal length brought along."""

import numpy as np
import pytest
import torch
from small_run import small_config
from torch import nn

from depthkit.camera import resize_matrix
from depthkit.config import SupervisedConfig
from depthkit.errors import CheckpointError, EngineError, ShapeError
from depthkit.models.checkpoint import read_checkpoint, save_checkpoint
from depthkit.rigid import exp_se3
from depthkit.synth.boxes import box_camera, make_box_scene, render
from depthkit.tasks.supervised_pair import SupervisedPair
from depthkit.training.loop import train
from depthkit.training.predict import find_checkpoint, load_predictor, load_single_view
from depthkit.training.predict_pair import PairPredictor
from depthkit.trajectory import make_pose

K = np.array([[48.0, 0, 47.5], [0, 48, 31.5], [0, 0, 1]])
PAIR = (
    "task=supervised_pair",
    "model.depth=depthnet",
    "model.width=0.125",
    "data.shifts=[-3]",
    "data.random_shift=3",
    "optimizer.steps=1",
)


class Ramp(nn.Module):
    """Says 10 m at the left to 20 m at the right border, and remembers the frames."""

    def forward(self, previous, current):
        """Return the finest map."""
        self.seen = previous, current
        height, width = (-(-n // 4) for n in current.shape[-2:])
        return [torch.linspace(10, 20, width).expand(1, 1, height, width)]


@pytest.fixture
def working() -> PairPredictor:
    """A predictor trained at 64 x 96 with f = 48, whose network is a ramp."""
    return PairPredictor(SupervisedPair(Ramp(), SupervisedConfig()), size=(64, 96), focal=48.0)


def frames(height: int = 64, width: int = 96) -> np.ndarray:
    """Two random frames. (2, H, W, 3) uint8"""
    return np.random.default_rng(0).integers(0, 255, (2, height, width, 3), dtype=np.uint8)


def moved(x: float, y: float = 0, z: float = 0, turn=(0, 0, 0)) -> np.ndarray:
    """A motion. (4, 4)"""
    T = exp_se3(np.array([0, 0, 0, *turn], dtype=float))
    T[:3, 3] = x, y, z
    return T


def test_depth_grows_with_the_distance(working):
    """At |t| = 0.5 m, whatever its direction, depth is 0.5 / 0.3 times what the network says."""
    assert (working.nominal_baseline, working.max_depth, working.scale) == (0.3, 100, "metric")
    depth = working.depth(*frames(), T_current_previous=moved(0.3, 0, -0.4))
    assert depth.shape == (64, 96) and depth.dtype == np.float32
    assert depth[:, [0, -1]] == pytest.approx(np.tile([10, 20], (64, 1)) * 0.5 / 0.3, rel=1e-5)


def test_no_depth_from_no_motion(working):
    """A displacement of zero is refused, turning or not; so is one that is not finite."""
    for T in (np.eye(4), moved(0, turn=(0, 0.1, 0))):
        with pytest.raises(EngineError, match="no depth from no motion"):
            working.depth(*frames(), T_current_previous=T)
    with pytest.raises(EngineError, match="not finite"):
        working.depth(*frames(), T_current_previous=np.full((4, 4), np.nan))


def test_frames_of_the_training_camera_go_in_as_they_are(working):
    """Without K, or with the training's, nothing is resized; previous first, current second."""
    pair = frames()
    for camera in (None, K):
        working.depth(*pair, T_current_previous=moved(0.3), K=camera)
        for seen, frame in zip(working.task.depth_net.seen, pair, strict=True):
            assert (seen[0].permute(1, 2, 0).mul(255).round().byte().numpy() == frame).all()


@pytest.mark.parametrize("size", [(128, 192), (100, 150), (60, 81)])
def test_another_camera_is_resized_to_the_focal_length(working, size):
    """A lens of 1.5 times the focal length: frames shrink to f = 48, depth comes back."""
    other = resize_matrix((64, 96), size) @ K
    other[:2, :2] *= 1.5
    depth = working.depth(*frames(*size), T_current_previous=moved(0.3), K=other)
    seen = working.task.depth_net.seen[1].shape[-2:]
    assert seen == (round(64 / 1.5), round(96 / 1.5)) and depth.shape == size


@pytest.mark.parametrize("factor", [0.3, 2.5])
def test_a_focal_length_out_of_range_is_refused(working, factor):
    """A fish-eye's and a telephoto's view: one line that names focal lengths and sizes."""
    other = K.copy()
    other[:2, :2] *= factor
    with pytest.raises(EngineError, match=f"focal length {48 * factor:.1f} px of 96x64") as caught:
        working.depth(*frames(), T_current_previous=moved(0.3), K=other)
    assert "\n" not in str(caught.value) and "out of range" in str(caught.value)


def test_the_previous_frame_is_turned_like_the_current_one(working):
    """The network sees what a gimbal would have shown: the same view from the previous place."""
    scene, lens = make_box_scene(4), box_camera((96, 144))
    turn = exp_se3(np.array([0, 0, 0, 0.02, 0.05, -0.08]))[:3, :3]
    place = np.array([0.1, 0.0, -0.1])
    current = render(scene, lens, np.eye(4)).rgb
    steady = render(scene, lens, make_pose(np.eye(3), place)).rgb
    T_world_previous = make_pose(turn, place)
    turned = render(scene, lens, T_world_previous).rgb
    working.focal, working.size = lens.fx, (96, 144)
    working.depth(turned, current, T_current_previous=T_world_previous, K=lens.K)
    seen = working.task.depth_net.seen[0][0].permute(1, 2, 0).mul(255).numpy()
    middle = (slice(16, -16), slice(16, -16))
    off, before = (np.abs(f - steady.astype(float))[middle].mean() for f in (seen, turned))
    assert off < 0.25 * before


def test_shapes_are_checked(working):
    """Two sizes, motions of 3 x 4."""
    with pytest.raises(ShapeError, match="rgb_current must be"):
        working.depth(frames()[0], frames(32, 96)[0], T_current_previous=moved(0.3))
    with pytest.raises(ShapeError, match="T_current_previous must be"):
        working.depth(*frames(), T_current_previous=moved(0.3)[:3])


@pytest.fixture(scope="module")
def pair_run(world, tmp_path_factory):
    """A run of one step."""
    run = tmp_path_factory.mktemp("pair") / "run"
    train(small_config(world, *PAIR), run)
    return run


def test_noise_of_a_hovering_camera_is_no_motion(working):
    """Below a hundredth of the nominal baseline a map would be noise with a metre's name."""
    with pytest.raises(EngineError, match="no depth from no motion"):
        working.depth(*frames(), T_current_previous=moved(0.0029))
    assert working.depth(*frames(), T_current_previous=moved(0.0031)).max() < 0.3


@pytest.mark.parametrize("value", [0.0, np.nan, -50.0])
def test_an_impossible_k_is_refused(working, value):
    """Zero, negative or NaN focal lengths are one line, no traceback."""
    K = box_camera((64, 96)).K
    K[0, 0] = value
    with pytest.raises(EngineError, match="K must be finite with focal lengths above 0"):
        working.depth(*frames(), T_current_previous=moved(0.3), K=K)


def test_views_without_overlap_are_refused(working):
    """After a turn of 2 rad nothing is left to compare."""
    with pytest.raises(EngineError, match="less than half of the picture"):
        working.depth(*frames(), T_current_previous=moved(0.3, turn=(0, 2.0, 0)))


def test_a_trained_run_predicts(world, pair_run):
    """Checkpoint to predictor: focal length and baseline are the training's, any size works."""
    loaded = load_predictor(pair_run)
    assert isinstance(loaded, PairPredictor) and loaded.size == (64, 96)
    assert loaded.focal == pytest.approx(box_camera((64, 96)).fx)
    for size in ((64, 96), (70, 97), (130, 200)):
        camera = resize_matrix((64, 96), size) @ box_camera((64, 96)).K
        depth = loaded.depth(*frames(*size), T_current_previous=moved(0.3), K=camera)
        assert depth.shape == size and (depth > 0).all() and (depth <= 100).all()


def test_a_pair_network_does_not_take_single_frames(pair_run):
    """Verbs that have no motion say so in one line."""
    with pytest.raises(EngineError, match="takes pairs of frames and the known motion"):
        load_single_view(pair_run)


def test_a_checkpoint_without_its_focal_length_is_refused(pair_run, tmp_path):
    """A pair network without it cannot be fitted to any camera."""
    tensors, state = read_checkpoint(find_checkpoint(pair_run))
    del state["focal"]
    save_checkpoint(tmp_path / "bad.safetensors", tensors, state)
    with pytest.raises(CheckpointError, match="has no 'focal'"):
        load_predictor(tmp_path / "bad.safetensors")


def test_weights_of_half_precision_load(pair_run, tmp_path):
    """What ships is stored in 16 bits and works in 32."""
    tensors, state = read_checkpoint(find_checkpoint(pair_run))
    half = {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()}
    save_checkpoint(tmp_path / "half.safetensors", half, state)
    exact, rounded = load_predictor(pair_run), load_predictor(tmp_path / "half.safetensors")
    a, b = (p.depth(*frames(), T_current_previous=moved(0.3)) for p in (exact, rounded))
    assert b.dtype == np.float32 and b == pytest.approx(a, rel=0.02)


def test_known_depth_of_single_frames_makes_metres(world, tmp_path):
    """Task supervised_mono: a metric predictor of frames, without a motion to give."""
    words = ("task=supervised_mono", "optimizer.steps=1", "supervised.scale_weights=[1]")
    train(small_config(world, *words), tmp_path / "run")
    loaded = load_single_view(tmp_path / "run")
    assert loaded.scale == "metric" and loaded.depth(frames(50, 70)[0]).shape == (50, 70)
    with pytest.raises(EngineError, match="learnt depth alone"):
        loaded.relative_pose(*frames())
