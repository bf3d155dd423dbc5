# SPDX-License-Identifier: Apache-2.0
"""Flow networks: the cost volume by hand and by gradients, sizes, units, start, weights."""

import pytest
import torch
import torch.nn.functional as F
from close import NETWORK, assert_close_to_largest
from safetensors.torch import save_file
from torch.autograd import gradcheck

from depthkit.errors import CheckpointError, ConfigError, ShapeError
from depthkit.models.cost_volume import RADIUS, SHIFTS, correlate
from depthkit.models.flow_net import PwcFlow, RaftSmall, _Expectation, build_flow_network


def by_definition(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The cost volume, shift by shift."""
    height, width = first.shape[-2:]
    around = F.pad(second, (RADIUS,) * 4)
    reach = range(2 * RADIUS + 1)
    planes = [(first * around[..., v : v + height, u : u + width]) for v in reach for u in reach]
    return torch.stack([plane.mean(1) for plane in planes], 1)


# --- cost volume ---------------------------------------------------------------------------------


def test_a_shifted_point_answers_at_its_shift():
    """A point at (u, v) = (5, 3), seen at (7, 2): the shift (2, -1) is number 3 * 9 + 6."""
    first, second = torch.zeros(2, 1, 4, 8, 12).unbind()
    first[0, :, 3, 5] = torch.tensor([1.0, 2, 3, 4])
    second[0, :, 2, 7] = torch.tensor([4.0, 3, 2, 1])
    volume = correlate(first, second)
    assert volume.shape == (1, SHIFTS, 8, 12)
    assert volume.nonzero().tolist() == [[0, 3 * 9 + 6, 3, 5]]
    assert volume.sum().item() == pytest.approx(20 / 4)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (8, 8), (13, 21), (16, 40)])
def test_blocks_make_the_volume_of_the_definition(size):
    """Whatever the size, with and without gradient, in both memory layouts."""
    torch.manual_seed(0)
    first, second = torch.randn(2, 2, 5, *size).unbind()
    expected = by_definition(first, second)
    assert_close_to_largest(correlate(first, second), expected)
    with torch.no_grad():
        assert_close_to_largest(correlate(first, second), expected)
    last = (x.contiguous(memory_format=torch.channels_last) for x in (first, second))
    assert_close_to_largest(correlate(*last), expected)


def test_volume_has_the_gradient_of_the_definition():
    """gradcheck in float64 over blocks that are cut and windows that overlap."""
    torch.manual_seed(1)
    first, second = (
        torch.randn(1, 2, 9, 10, dtype=torch.float64, requires_grad=True) for _ in range(2)
    )
    assert gradcheck(correlate, (first, second), fast_mode=True)
    weights = torch.randn(1, SHIFTS, 9, 10, dtype=torch.float64)
    got = torch.autograd.grad((correlate(first, second) * weights).sum(), (first, second))
    wanted = torch.autograd.grad((by_definition(first, second) * weights).sum(), (first, second))
    for g, w in zip(got, wanted, strict=True):
        torch.testing.assert_close(g, w)


# --- the expected match --------------------------------------------------------------------------


def expected_by_definition(
    volume: torch.Tensor, log_sharpness: torch.Tensor, shifts: torch.Tensor
) -> torch.Tensor:
    """The expected shift and the peak, plane by plane. (N, 3, h, w)"""
    share = (volume * log_sharpness.exp()).softmax(1)
    u, v = ((share * reach[:, None, None]).sum(1) for reach in shifts)
    return torch.stack([u, v, (share**2).sum(1)], 1)


def volume_of(*size: int) -> list[torch.Tensor]:
    """A random volume, sharpness 3 and the network's shifts, in float64."""
    torch.manual_seed(2)
    volume = torch.randn(2, SHIFTS, *size, dtype=torch.float64)
    sharpness = torch.tensor(3.0, dtype=torch.float64).log()
    return [volume.requires_grad_(), sharpness.requires_grad_(), PwcFlow().shifts.double()]


def test_expected_match_by_hand():
    """Two shifts that answer alike, far above the rest: the one between them, and a peak of 1/2."""
    volume = torch.zeros(1, SHIFTS, 1, 1)
    volume[0, [3 * 9 + 6, 5 * 9 + 2]] = 10.0  # (2, -1) and (-2, 1); sharpness is 10
    network = PwcFlow(width=0.25)
    expected = torch.tensor([0.0, 0.0, 0.5]).view(1, 3, 1, 1)
    torch.testing.assert_close(network._expect(volume), expected)
    volume[0, 5 * 9 + 2] = 0
    expected = torch.tensor([2.0, -1.0, 1.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(network._expect(volume), expected)
    nowhere = network._expect(torch.zeros(1, SHIFTS, 1, 1)).flatten()
    assert nowhere.tolist() == pytest.approx([0, 0, 1 / SHIFTS], abs=1e-6)


def test_expected_match_has_the_gradient_of_its_formula():
    """gradcheck in float64 by volume and sharpness; autograd of the definition says the same."""
    small = volume_of(1, 2)
    assert gradcheck(lambda *x: _Expectation.apply(*x, small[2]), small[:2])
    *inputs, shifts = volume_of(5, 7)
    weights = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    wanted = expected_by_definition(*inputs, shifts)
    for layout in (torch.contiguous_format, torch.channels_last):
        got = _Expectation.apply(inputs[0].contiguous(memory_format=layout), inputs[1], shifts)
        torch.testing.assert_close(got, wanted)
        both = ((x * weights).sum() for x in (got, wanted))
        by_hand, by_torch = (torch.autograd.grad(x, inputs, retain_graph=True) for x in both)
        torch.testing.assert_close(by_hand, by_torch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_and_inference_expect_the_same(dtype):
    """With and without gradient, in 32 bits from any type; the gradient is of the volume's type."""
    network = PwcFlow(width=0.25)
    volume = volume_of(4, 6)[0].detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        told = network._expect(volume)
    with torch.no_grad():
        assert_close_to_largest(told.detach(), network._expect(volume))
    told.square().sum().backward()
    assert told.dtype == torch.float32 and volume.grad.dtype == dtype
    assert volume.grad.any() and network.log_sharpness.grad.isfinite()


# --- networks ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> PwcFlow:
    """A narrow network that does not say 0."""
    torch.manual_seed(0)
    network = PwcFlow(width=0.25)
    torch.nn.init.normal_(network.head.weight, std=0.05)
    return network.eval()


@pytest.mark.parametrize("size", [(64, 128), (65, 130), (48, 96), (33, 200)])
def test_flow_comes_at_the_size_of_the_picture(network, size):
    """Full size first, then 1/8 .. 1/64 rounded up, at any size."""
    with torch.no_grad():
        flows = network(torch.rand(2, 6, *size))
    rounded = [tuple(-(-side // s) for side in size) for s in (8, 16, 32, 64)]
    assert [tuple(f.shape) for f in flows] == [(2, 2, *s) for s in (size, *rounded)]
    assert all(f.dtype == torch.float32 for f in flows)


def test_filling_up_changes_nothing_that_is_cut_away(network):
    """A picture filled up by hand, as the network does it, gives the same flow."""
    pairs = torch.rand(1, 6, 50, 100)
    with torch.no_grad():
        whole = network(F.pad(pairs, (0, 28, 0, 14), mode="replicate"))[0]
        assert_close_to_largest(network(pairs)[0], whole[..., :50, :100], relative=NETWORK)


def test_training_begins_at_no_motion():
    """Heads are zero: so is every flow; and all weights get a gradient after the first step."""
    torch.manual_seed(0)
    network = PwcFlow(width=0.25)
    flows = network(torch.rand(1, 6, 64, 64))
    assert not any(flow.any() for flow in flows)
    torch.nn.init.normal_(network.head.weight, std=0.05)
    sum(flow.square().mean() for flow in network(torch.rand(1, 6, 64, 128))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(p.grad.any() for p in network.parameters())


def test_width_scales_the_weights():
    """Half the channels: less than half of the weights; none is an error."""
    count = [sum(p.numel() for p in PwcFlow(width=w).parameters()) for w in (0.5, 1)]
    assert count[0] < count[1] / 2 and 5e5 < count[1] < 1e6
    with pytest.raises(ConfigError, match="width"):
        PwcFlow(width=0)


def test_pairs_do_not_mix(network):
    """Each pair of a batch has its own flow."""
    pairs = torch.rand(2, 6, 64, 64)
    with torch.no_grad():
        alone = network(pairs[1:])[0]
        assert_close_to_largest(network(pairs)[0][1:], alone, relative=NETWORK)


def test_features_may_be_shared_between_pairs(network):
    """encode and decode are what forward is: a task encodes a frame once for all of its pairs."""
    a, b = torch.rand(2, 1, 3, 64, 96).unbind()
    with torch.no_grad():
        first, second = network.encode(a), network.encode(b)
        shared = network.decode(second, first, (64, 96))[0]
        assert_close_to_largest(shared, network(torch.cat([b, a], 1))[0], relative=NETWORK)


def test_bfloat16_flow_is_near_the_full_one(network):
    """Autocast runs the convolutions, not positions nor sums of pixels."""
    pairs = torch.rand(1, 6, 64, 128)
    with torch.no_grad():
        exact = network(pairs)[0]
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(pairs)[0]
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_learns_a_shift():
    """Thirty steps of known flow on a shifted texture: the error falls to a third of the motion."""
    torch.manual_seed(0)
    texture = F.interpolate(torch.rand(4, 3, 20, 24), (80, 96), mode="bicubic").clamp(0, 1)
    first, second = texture[..., 8:72, 8:72], texture[..., 8:72, 5:69]  # moved 3 px to the right
    truth = torch.tensor([3.0, 0]).view(1, 2, 1, 1)
    network = PwcFlow(width=0.5)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(30):
        flows = network(torch.cat([first, second], 1))
        optimizer.zero_grad()
        sum((flow - truth).abs().mean() for flow in flows).backward()
        optimizer.step()
    assert (network(torch.cat([first, second], 1))[0] - truth).norm(dim=1).mean() < 1


def test_raft_answers_like_the_others():
    """torchvision's RAFT at an odd, small size: full-size flows, finite, float32."""
    torch.manual_seed(0)
    with torch.no_grad():
        flows = RaftSmall().eval()(torch.rand(1, 6, 60, 131))
    assert len(flows) == 12
    assert all(f.shape == (1, 2, 60, 131) and f.isfinite().all() for f in flows)


def test_raft_takes_a_local_file(tmp_path):
    """torchvision's weights as .pth and as .safetensors; a missing or wrong file is one line."""
    state = RaftSmall().net.state_dict()
    torch.save(state, tmp_path / "raft.pth")
    save_file(state, tmp_path / "raft.safetensors")
    for name in ("raft.pth", "raft.safetensors"):
        loaded = build_flow_network("raft_small", weights=str(tmp_path / name)).net.state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in state.items())
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="not a weights file"):
        build_flow_network("raft_small", weights=str(tmp_path / "bad.pth"))
    with pytest.raises(CheckpointError, match="never downloads"):
        build_flow_network("raft_small", weights=str(tmp_path / "none.pth"))


def test_unknown_names_and_shapes_are_said():
    """Names are listed; a stack that is no pair is the caller's bug."""
    with pytest.raises(ConfigError, match="pwc, raft_small"):
        build_flow_network("flownet")
    with pytest.raises(ConfigError, match="no weights of others"):
        build_flow_network("pwc", weights="x.pth")
    with pytest.raises(ShapeError, match="PwcFlow: pairs"):
        PwcFlow(width=0.25)(torch.rand(1, 3, 64, 64))
