# SPDX-License-Identifier: Apache-2.0
"""What moves by itself: the numbers of training's own formula, and motions known by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from street_truth import street_pair

from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.evaluation.moving import average_precision
from depthkit.export.describe import static_law
from depthkit.geometry.rigid_flow import rigid_flow as torch_rigid_flow
from depthkit.losses.coop import gap_score as torch_score
from depthkit.losses.coop import static_posterior as torch_posterior
from depthkit.losses.photometric import photometric_error as torch_error
from depthkit.multiview.rigid_flow import RigidFlow, fit_unit, rigid_flow
from depthkit.multiview.warp import warp_by_flow
from depthkit.rigid import exp_se3
from depthkit.runtime.flow.moving import (
    gap_score,
    photometric_error,
    static_by_law,
    static_by_residual,
    static_posterior,
)
from depthkit.runtime.network.manifest import Mixture, StaticLaw
from depthkit.tasks import build_task

DELTA, GAP = Mixture(0.004, 0.02, 0.2, 0.07), Mixture(0.3, 0.2, 1.5, 0.1)
RATIO = Mixture(0.03, 0.15, 1.0, 0.07)
LAW = StaticLaw("photometric", DELTA, GAP, ssim_weight=0.85, window=5)
K = np.array([[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]])


def to_numpy(maps: torch.Tensor) -> np.ndarray:
    """(1, C, H, W) -> (H, W, C), or (H, W) of one channel"""
    return maps[0].movedim(0, -1).squeeze(-1).numpy()


def shifted(x: float, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """A motion without rotation."""
    T = np.eye(4)
    T[:3, 3] = x, y, z
    return T


@pytest.fixture(scope="module")
def street():
    """A frame with traffic, the next one, and all that is known of them."""
    return street_pair()


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("delta", ["difference", "ratio"])
@pytest.mark.parametrize("evidence", ["photometric", "gap", "both"])
def test_static_probability_is_the_task_s_own(street, evidence, delta, looks):
    """Networks with random weights on a real pair: the task's posterior, pixel by pixel."""
    torch.manual_seed(0)
    words = (
        "task=coop",
        "model.depth=light",
        "model.pose=light",
        "model.flow_width=0.25",
        "coop.window=3",
        f"coop.evidence={evidence}",
        f"coop.delta={delta}",
        f"coop.mask_weight={float(looks)}",
    )
    config = load_config(TrainConfig, None, [*words])
    task = build_task(config, (1,)).eval()
    torch.nn.init.normal_(task.flow_net.head.weight, std=0.005)
    if looks:
        torch.nn.init.normal_(task.mask_net.head.conv.weight, std=10)
    laws = {"difference": [0.01, 0.03, 0.3, 0.1], "ratio": [0.1, 0.4, 2.0, 0.1]}
    task.delta.law.copy_(torch.tensor(laws[delta]))
    task.gap.law.copy_(torch.tensor([3.0, 1.5, 8.0, 0.2]))
    task.delta.fitted.fill_(True)
    task.gap.fitted.fill_(True)
    snippet = replace(street.snippet(), valid=torch.ones_like(street.known))
    with torch.no_grad():
        wanted = to_numpy(task.static_probability(snippet))
        depth = to_numpy(1 / task.depth_net(snippet.target)[0])
        T = task.predict_motions(snippet.target, snippet.sources)[0][0].double().numpy()
        flow = to_numpy(task.flow_net(torch.cat([street.first, street.second], 1))[0])
        odds = to_numpy(task.mask_net(street.first)) if looks else None
    found = static_by_law(
        *(np.rint(255 * to_numpy(x)).astype(np.uint8) for x in (street.first, street.second)),
        rigid=rigid_flow(depth, T_source_target=T, K=street.K[0].double().numpy()),
        flow=flow,
        law=static_law(SimpleNamespace(task=task, config=config)),
        prior_logits=odds,
    )
    known = np.isfinite(found)
    assert known.mean() > 0.7 and 0.1 < wanted[known].mean() < 0.999 and wanted[known].std() > 0.02
    assert np.abs(found - wanted)[known].max() < 2e-3


def test_rigid_flow_is_training_s(street):
    """Flow and validity of the real pair, behind the camera and unknown depth included."""
    T = street.T_second_first.clone()
    T[0, 2, 3] -= 8  # some points end behind the camera
    wanted = torch_rigid_flow(street.depth, T_source_target=T, K=street.K)
    matrices = {"T_source_target": T[0].double().numpy(), "K": street.K[0].double().numpy()}
    found = rigid_flow(to_numpy(street.depth), **matrices)
    valid = to_numpy(wanted.valid)
    assert np.mean(found.valid != valid) < 1e-3 and 0.05 < valid.mean() < 0.95
    assert found.flow[valid] == pytest.approx(to_numpy(wanted.flow)[valid], abs=2e-2)
    depth = np.full((8, 12), np.nan)
    none = rigid_flow(depth, **matrices)
    assert not none.valid.any() and (none.flow == 0).all() and (none.parallax == 0).all()


def test_parallax_is_training_s(street):
    """Of the real pair with a turn: flow minus that of the same turn alone."""
    T = street.T_second_first.clone()
    T[0] = torch.from_numpy(exp_se3(np.array([0.3, -0.1, 0.2, 0.01, 0.02, -0.03]))) @ T[0].double()
    still = T.clone()
    still[0, :3, 3] = 0
    whole, turned = (
        torch_rigid_flow(street.depth, T_source_target=x, K=street.K) for x in (T, still)
    )
    said = T[0].double().numpy()
    before = said.copy()
    found = rigid_flow(to_numpy(street.depth), T_source_target=said, K=street.K[0].double().numpy())
    valid = to_numpy(whole.valid)
    wanted = to_numpy(whole.flow - turned.flow)
    assert found.parallax[valid] == pytest.approx(wanted[valid], abs=2e-2)
    assert np.linalg.norm(wanted[valid], axis=-1).mean() > 1
    assert np.linalg.norm(to_numpy(turned.flow)[valid], axis=-1).mean() > 1
    assert found.parallax.dtype == np.float32 and np.array_equal(said, before)


def test_rigid_flow_by_hand():
    """A camera 0.1 m to the right at 2 m of depth and f = 40: everything 2 px to the left.

    All of that is parallax; of a turn nothing is.
    """
    found = rigid_flow(np.full((32, 64), 2.0), T_source_target=shifted(-0.1), K=K)
    seen = found.valid[..., None]
    assert found.parallax == pytest.approx(np.where(seen, found.flow, 0), abs=1e-5)
    turn = exp_se3(np.array([0, 0, 0, 0.01, 0.02, -0.03]))
    turned = rigid_flow(np.full((32, 64), 2.0), T_source_target=turn, K=K)
    assert np.abs(turned.parallax).max() < 1e-5 and np.abs(turned.flow).max() > 0.5
    assert found.flow[..., 0] == pytest.approx(-2) and found.flow[..., 1] == pytest.approx(0)
    assert not found.valid[:, :2].any() and found.valid[:, 2:].all()


def test_errors_and_posterior_are_training_s(street):
    """SSIM and L1, and the curve over Delta, number by number."""
    a, b = street.first, street.second
    for weight in (0.85, 0.0):
        found = photometric_error(to_numpy(a), to_numpy(b), ssim_weight=weight)
        assert found == pytest.approx(
            to_numpy(torch_error(a, b, ssim_weight=weight)), abs=2e-4
        )  # flat: rounding
    delta = torch.linspace(-1, 1, 101)[None]
    law = SimpleNamespace(**{k: torch.tensor(v) for k, v in vars(DELTA).items()})
    found = static_posterior(delta.numpy(), DELTA)
    assert found == pytest.approx(torch_posterior(delta, law).numpy(), abs=1e-6)
    assert found[0, 0] == 1 and found[0, -1] < 1e-3


@pytest.mark.parametrize("length", [0.0, 1e-4, 1.0, 30.0])
def test_gap_scores_are_training_s(length):
    """Over holes and borders, where the gap is no number too, without and with parallax."""
    rng = np.random.default_rng(0)
    gap, known = rng.normal(0, 3, (20, 30, 2)).astype(np.float32), rng.random((20, 30)) > 0.3
    gap[5:8, 5:8] *= 100
    parallax = (length * rng.normal(0, 1, gap.shape)).astype(np.float32)
    gap[~known] = np.nan
    maps = [
        torch.from_numpy(x).movedim(-1, 0)[None, None] for x in (gap, parallax, known[..., None])
    ]
    for window in (1, 5):
        wanted = to_numpy(torch_score(*maps, window=window))
        found = gap_score(gap, parallax, known, window=window)
        assert found == pytest.approx(wanted, abs=1e-5) and (found[~known] == 0).all()
        assert 1 < found[known].mean() < 8 or length == 30


def test_gap_score_by_hand():
    """With 10 px of parallax 5 px along it are 2, 3 px across 3; without any, 1 px is 2, 5 px 8."""
    gap = np.array([[[3.0, 4.0], [-2.4, 1.8], [0.6, 0.8], [3.0, 4.0]]])
    parallax = np.array([[[6.0, 8.0], [6.0, 8.0], [0.0, 0.0], [0.0, 0.0]]])
    found = gap_score(gap, parallax, np.ones((1, 4), bool), window=1)
    assert found[0] == pytest.approx([2, 3, 2, 8])


def test_warping_reads_between_pixels_and_stops_at_the_border():
    """A ramp is read exactly at any place; beyond the border stands the border."""
    v, u = np.mgrid[:6, :9].astype(np.float32)
    ramp, flow = np.stack([u, v], axis=-1), np.full((6, 9, 2), 0.37, np.float32)
    found = warp_by_flow(ramp, flow)
    assert found[:5, :8] == pytest.approx(ramp[:5, :8] + 0.37, abs=2e-4)  # flat: rounding
    assert found[-1, -1] == pytest.approx([8, 5])
    assert warp_by_flow(ramp[:1, :1], flow[:1, :1]) == pytest.approx(ramp[:1, :1])


@pytest.mark.parametrize(
    ("rule", "ratio"),
    [
        ("photometric", False),
        ("photometric", True),
        ("gap", False),
        ("both", False),
        ("both", True),
        ("residual", False),
    ],
)
def test_the_truth_ranks_what_moves_last(street, rule, ratio):
    """With the exact depth, motion and flow both rules find the traffic."""
    T, camera = street.T_second_first[0].double().numpy(), street.K[0].double().numpy()
    depth = np.where(to_numpy(street.known), to_numpy(street.depth), np.nan)
    rigid, flow = rigid_flow(depth, T_source_target=T, K=camera), to_numpy(street.flow)
    pictures = [np.rint(255 * to_numpy(x)).astype(np.uint8) for x in (street.first, street.second)]
    law = replace(LAW, evidence=rule, ratio=ratio, delta=RATIO if ratio else DELTA)
    static = (
        static_by_residual(rigid, flow)
        if rule == "residual"
        else static_by_law(*pictures, rigid=rigid, flow=flow, law=law)
    )
    judged = to_numpy(street.visible) & np.isfinite(static)
    moving = to_numpy(street.moving)[judged]
    assert 0.005 < moving.mean() < 0.5
    precision = average_precision(1 - static[judged], moving)
    assert precision > (0.6 if rule == "photometric" else 0.9)


def test_residual_by_hand():
    """The usual residual is static, four times it is one half, and unknown stays unknown."""
    flow = np.zeros((20, 30, 2), np.float32)
    rigid = RigidFlow(flow.copy(), np.ones((20, 30), bool), np.eye(3))
    flow[..., 0] = 0.5
    flow[5, 5] = [2.2222223, 0]  # 2.222 / (1 + 0.111) = 2 = 4 x 0.5 / 1.025 x 1.025
    flow[6, 6] = np.nan
    rigid.valid[7, 7] = False
    static = static_by_residual(rigid, flow)
    assert static[0, 0] == pytest.approx(1 / (1 + 0.25**4)) and static[5, 5] == pytest.approx(
        0.5, abs=0.05
    )
    assert np.isnan(static[6, 6]) and np.isnan(static[7, 7])
    nothing = RigidFlow(flow, np.zeros((20, 30), bool), np.eye(3))
    assert np.isnan(static_by_residual(nothing, flow)).all()


@pytest.mark.parametrize("unit", [0.05, 1.0, 30.0])
def test_the_unit_of_motion_is_found(unit):
    """Half as far, thirty times as far: flow says how long the steps were, whatever a third of
    the picture does by itself; a turn changes nothing."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(2, 20, (32, 64))
    T = exp_se3(np.array([0.3, -0.1, 0.2, 0.01, 0.02, -0.03]))
    flow = rigid_flow(depth, T_source_target=T, K=K).flow
    flow[:, 40:] += rng.normal(0, 5, flow[:, 40:].shape)
    depth[3, 3] = np.nan
    said = T.copy()
    said[:3, 3] /= unit
    assert fit_unit(depth, flow, T_source_target=said, K=K) == pytest.approx(unit, rel=0.02)


def test_no_unit_without_motion_or_against_it():
    """A camera that stands has none, and flow the other way is none either."""
    depth, flow = np.full((32, 64), 5.0), np.full((32, 64, 2), 1.0)
    assert fit_unit(depth, flow, T_source_target=np.eye(4), K=K) is None
    assert fit_unit(depth, flow, T_source_target=shifted(-1.0, -1.0), K=K) is None
    nothing = np.full((32, 64), np.nan)
    assert fit_unit(nothing, flow, T_source_target=shifted(1.0), K=K) is None
