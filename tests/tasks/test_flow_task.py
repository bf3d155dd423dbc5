# SPDX-License-Identifier: Apache-2.0
"""The flow task: truth costs least, hidden pixels teach nothing, it learns and resumes."""

import dataclasses

import pytest
import torch
from close import NETWORK, assert_close_to_largest
from small_run import curve, small_config, write_world
from street_truth import StreetPair, street_pair
from torch import Tensor, nn

from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.data.snippet import Snippet
from depthkit.errors import CheckpointError, ConfigError
from depthkit.losses.smoothness import flow_smoothness
from depthkit.models.checkpoint import read_checkpoint
from depthkit.models.flow_net import PwcFlow, RaftSmall
from depthkit.tasks import build_task
from depthkit.tasks.flow import FlowTask, find_visible, predict_pairs
from depthkit.tasks.flow_teacher import teacher_distance
from depthkit.tasks.loaded import load_task
from depthkit.training.loop import train

WORDS = ("task=flow", "model.flow_width=0.5", "data.shifts=[1]")


class SaysFlow(nn.Module):
    """A network that says given flows, full size first, and one coarser scale."""

    def __init__(self, flow: Tensor) -> None:
        super().__init__()
        self.flow = nn.Parameter(flow)

    def forward(self, pairs: Tensor) -> list[Tensor]:
        """Answer, whatever the pairs."""
        return [self.flow, nn.functional.avg_pool2d(self.flow, 8)]


def config_of(*words: str) -> TrainConfig:
    """Return the small configuration with differences."""
    return load_config(TrainConfig, None, [*WORDS, *words])


def build(*words: str, shifts: tuple[int, ...] = (1,)) -> FlowTask:
    """Return the task with random weights."""
    torch.manual_seed(0)
    return build_task(config_of(*words), shifts)


def snippet_of(street: StreetPair, sources: int = 1) -> Snippet:
    """Return the street as a snippet; all of it is judged, the sky too."""
    return dataclasses.replace(street.snippet(sources), valid=torch.ones_like(street.known))


def exact(street: StreetPair, *words: str, factor: float = 1.0) -> FlowTask:
    """Return the task with a network that says the true flow both ways, times a factor."""
    task = build(*words)
    task.flow_net = SaysFlow(factor * torch.cat([street.flow, street.backward]))
    return task.eval()


@pytest.mark.parametrize("photometric", ["census", "ssim"])
@pytest.mark.parametrize("occlusion", ["forward_backward", "splatting"])
def test_the_truth_costs_least(photometric, occlusion):
    """The exact flow costs less than none, than too much and than too little of it."""
    street = street_pair()
    words = (f"flow.photometric={photometric}", f"flow.occlusion={occlusion}")

    def cost(factor: float) -> float:
        output = exact(street, *words, factor=factor)(snippet_of(street))
        return output.terms["loss/photometric"].item()

    best = cost(1)
    assert all(best < 0.9 * cost(factor) for factor in (0, 0.8, 1.2))


def test_hidden_pixels_teach_no_colours():
    """With occlusion on, the photometric gradient is zero where the other frame sees nothing."""
    street = street_pair()
    words = ("flow.photometric=ssim", "loss.ssim_weight=0")  # pixels alone, no neighbourhoods
    task = exact(street, *words, "flow.smoothness_weight=0", "flow.scale_weights=[1]")
    task(snippet_of(street)).loss.backward()
    taught = task.flow_net.flow.grad.abs().sum(1, keepdim=True) > 0
    visible = task._visible(predict_pairs(task.flow_net, snippet_of(street)))
    assert not (taught & ~visible).any()
    assert (taught & visible).sum() > 0.9 * visible.sum()
    hidden = ~street.visible
    assert (~visible[:1] & hidden).sum() > 0.9 * hidden.sum()


def test_occlusion_begins_after_its_step():
    """In training all pixels inside teach at first; evaluation always leaves hidden ones out."""
    task, snippet = build("flow.occlusion_from=2").train(), snippet_of(street_pair())
    torch.nn.init.normal_(task.flow_net.head.weight, std=0.1)
    shares = [task(snippet).terms["health/visible"].item() for _ in range(3)]
    assert shares[0] == shares[1] == 1 and shares[2] < 1
    assert task.steps == 3
    assert task.eval()(snippet).terms["health/visible"] < 1 and task.steps == 3


def test_pixels_that_are_no_image_teach_nothing():
    """Neither from them nor onto them: changing their colours changes no loss."""
    street = street_pair()
    snippet = snippet_of(street)
    valid = snippet.valid.clone()
    valid[..., :40] = False
    painted = snippet.target.clone()
    painted[..., :38] = 1.0  # the census looks 2 pixels far
    words = ("flow.smoothness_weight=0", "flow.scale_weights=[1]")
    whole = dataclasses.replace(snippet, valid=valid)
    other = dataclasses.replace(whole, target=painted)
    a, b = (exact(street, *words)(s).terms["loss/photometric"] for s in (whole, other))
    torch.testing.assert_close(a, b)


def test_both_directions_of_all_sources_are_one_batch():
    """S sources of B targets: 2 S B flows, equal to those of the pairs by themselves."""
    torch.manual_seed(0)
    network = PwcFlow(width=0.25).eval()
    nn.init.normal_(network.head.weight, std=0.05)
    target, sources = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 3, 64, 64)
    snippet = dataclasses.replace(
        snippet_of(street_pair()),
        target=target,
        sources=sources,
        valid=torch.ones(2, 1, 64, 64, dtype=torch.bool),
    )
    with torch.no_grad():
        pairs = predict_pairs(network, snippet)
        alone = network(torch.cat([sources[1, 2], target[1]])[None])[0]
    assert pairs.flows[0].shape == (12, 2, 64, 64) and pairs.valid.shape == (12, 1, 64, 64)
    assert_close_to_largest(pairs.flows[0][6 + 2 * 2 + 1], alone[0], relative=NETWORK)
    torch.testing.assert_close(pairs.first[6 + 5], sources[1, 2])
    torch.testing.assert_close(pairs.second[6 + 5], target[1])


@pytest.mark.parametrize("size", [(64, 128), (50, 71), (96, 96)])
def test_any_size_gives_finite_terms_and_pictures(size):
    """Sizes that are no multiple of 64 too; pictures are in [0, 1] at the size of the frames."""
    street = street_pair()
    snippet = snippet_of(street, sources=2)
    cut = dataclasses.replace(
        snippet,
        target=snippet.target[..., : size[0], : size[1]],
        sources=snippet.sources[..., : size[0], : size[1]],
        valid=snippet.valid[..., : size[0], : size[1]],
    )
    output = build(shifts=(1, 2))(cut, draws=True)
    assert output.loss.isfinite() and all(v.isfinite() for v in output.terms.values())
    assert set(output.images) == {"target", "rebuilt", "flow", "visible", "error"}
    for picture in output.images.values():
        assert picture.shape[-2:] == size and picture.min() >= 0 and picture.max() <= 1
    torch.testing.assert_close(
        output.loss.detach(), output.terms["loss/photometric"] + output.terms["loss/smoothness"]
    )


def test_learns_flow_without_labels():
    """Fifty steps on one slow pair of frames: the error falls far below that of no flow.

    It ends at 0.47 to 0.53 of it, as the seed and the processor's order of sums have it.
    """
    street = street_pair(size=(64, 128), speed=3.0)
    snippet, task = snippet_of(street), build()
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-3)
    for _ in range(50):
        loss = task(snippet).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        flow = task.eval().flow_net(torch.cat([street.first, street.second], 1))[0]
    seen = (street.known & street.visible)[:, 0]
    error, motion = ((flow - street.flow).norm(dim=1)[seen], street.flow.norm(dim=1)[seen])
    assert error.mean() < 0.6 * motion.mean()


def test_every_weight_learns():
    """All parameters of the task get a gradient that is finite."""
    task = build()
    nn.init.normal_(task.flow_net.head.weight, std=0.05)
    task(snippet_of(street_pair())).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())


@pytest.mark.parametrize("occlusion", ["forward_backward", "splatting", "none"])
def test_a_diverged_network_shows(occlusion):
    """A flow without numbers makes no pixel visible, and the loss not finite: the loop stops."""
    words = ("flow.occlusion_from=0", "flow.teacher=dis", "flow.smoothness_weight=0")
    task = build(f"flow.occlusion={occlusion}", *words)
    nn.init.constant_(task.flow_net.head.bias, torch.nan)
    output = task(snippet_of(street_pair()))
    assert not output.loss.isfinite() and output.terms["health/visible"] == 0


def test_two_equal_frames_stay_still():
    """Without motion the least loss is no flow: it costs nothing, and all pixels are visible."""
    snippet = snippet_of(street_pair())
    still = dataclasses.replace(snippet, sources=snippet.target[:, None])
    output = build().eval()(still)
    assert output.loss.item() == pytest.approx(0, abs=1e-6)
    assert output.terms["health/visible"] == 1 and output.terms["health/identity_error"] == 0


def test_a_trained_teacher_is_no_part_of_the_checkpoint(tmp_path):
    """RAFT's distance is a term; its weights are neither trained nor stored, nor needed to load."""
    torch.save(RaftSmall().net.state_dict(), tmp_path / "raft.pth")
    words = ("flow.teacher=raft_small", f"flow.teacher_file={tmp_path / 'raft.pth'}")
    output = build(*words)(snippet_of(street_pair()))
    assert output.terms["loss/teacher"] >= 0  # random RAFT hardly ever comes back
    assert all(name.startswith("flow_net.") for name, _ in build(*words).named_parameters())
    resolved = config_of(*words).without_encoder_weights().flow
    assert resolved.teacher == "none" and resolved.teacher_file is None
    with pytest.raises(CheckpointError, match="never downloads"):
        build("flow.teacher=raft_small", "flow.teacher_file=none.pth")


def test_classical_flow_teaches_less_and_less():
    """DIS pulls from afar, half as much halfway, not at the end nor when judged."""
    snippet, task = snippet_of(street_pair()), build("flow.teacher=dis", "flow.teacher_steps=4")
    first = task(snippet)
    first.loss.backward()
    assert task.flow_net.head.weight.grad.any()
    terms = [first.terms, *(task(snippet).terms for _ in range(4))]
    values = [t["loss/teacher"].item() for t in terms[:4]]
    assert values == pytest.approx([values[0] * left for left in (1, 0.75, 0.5, 0.25)], rel=1e-4)
    assert "loss/teacher" not in terms[4]
    task.steps.zero_()
    assert "loss/teacher" not in task.eval()(snippet).terms


def test_teachers_flow_follows_the_zoom(monkeypatch):
    """A teacher who says (2, 1) of the frames says (3, 1.5) of frames enlarged by 1.5."""
    words = ("flow.teacher=dis", "flow.window=[64,96]", "flow.window_zoom=1.5")
    task = build(*words, "flow.scale_weights=[1]", "flow.teacher_weight=1")
    seen = []

    def says(first: Tensor, second: Tensor) -> Tensor:
        seen.append(first.shape)
        sign = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)  # there and back again
        return sign * torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(2, 2, *first.shape[-2:])

    task.teacher = says
    monkeypatch.setattr(torch, "rand", lambda *_: torch.ones(()))  # the largest zoom
    output = task(snippet_of(street_pair()))
    assert seen == [(2, 3, 96, 192)]
    assert output.terms["loss/teacher"].item() == pytest.approx((3**2 + 1.5**2) ** 0.5, rel=1e-3)


def test_teachers_distance_by_hand():
    """3 px by 4 px off is 5; unknown pixels do not count; a coarse map meets the known's mean."""
    taught = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).repeat(1, 1, 8, 16)
    taught[..., 8:] = 99
    known = torch.ones(1, 1, 8, 16, dtype=torch.bool)
    known[..., 8:] = False
    flows = [torch.zeros(1, 2, 8, 16), torch.zeros(1, 2, 2, 4)]
    distance = teacher_distance(flows, taught, known, weights=(1.0, 0.5, 9.0))
    assert distance.item() == pytest.approx(1.5 * 5, rel=1e-4)


# --- windows -------------------------------------------------------------------------------------


def test_flow_that_leaves_the_window_is_judged_by_the_rest():
    """The exact flow costs as little in a window as in the whole frame, and all that ends in the
    frame teaches, be it outside the window."""
    street = street_pair(speed=10.0)
    words = ("flow.window=[64,128]", "flow.scale_weights=[1]", "flow.occlusion_from=0")
    task, snippet = exact(street, *words).train(), snippet_of(street)
    torch.manual_seed(2)
    pairs = predict_pairs(task.flow_net, snippet, window=(64, 128))
    left, top = (int(x) for x in pairs.corner.flatten())
    assert (left, top) != (0, 0) and pairs.first.shape == (2, 3, 64, 128)
    assert torch.equal(pairs.second[:1], street.second[..., top : top + 64, left : left + 128])
    flow = task.flow_net.flow.detach()[..., top : top + 64, left : left + 128]
    task.flow_net.flow = nn.Parameter(flow)
    torch.manual_seed(2)
    inside = task(snippet)
    shown = find_visible(flow, "none")
    assert not shown.all() and inside.terms["health/visible"] > shown.float().mean()
    whole = exact(street, "flow.scale_weights=[1]")(snippet)
    cost = inside.terms["loss/photometric"] / whole.terms["loss/photometric"]
    assert 0.6 < cost < 1.5
    task.flow_net.flow = nn.Parameter(torch.zeros_like(flow))
    torch.manual_seed(2)
    assert task(snippet).terms["loss/photometric"] > 1.5 * inside.terms["loss/photometric"]


def test_windows_are_drawn_and_only_for_training():
    """Another corner and another zoom each time, the frame itself when judged."""
    task = build("flow.window=[64,96]", "flow.window_zoom=1.5")
    snippet = snippet_of(street_pair())
    torch.manual_seed(0)
    drawn = [predict_pairs(task.flow_net, snippet, window=(64, 96), zoom=1.5) for _ in range(8)]
    assert len({tuple(pairs.corner.flatten().tolist()) for pairs in drawn}) > 4
    heights = {pairs.scene.shape[-2] for pairs in drawn}
    assert min(heights) >= 96 and max(heights) <= 144 and len(heights) > 4
    assert task(snippet, draws=True).images["target"].shape[-2:] == (64, 96)
    assert task.eval()(snippet, draws=True).images["target"].shape[-2:] == (96, 192)


# --- smoothness of flow --------------------------------------------------------------------------


def test_smoothness_by_hand():
    """A step of 2 px between two halves of a flat picture: 4 of 12 horizontal differences are 2."""
    flow = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    flow[:, 0, :, 2:] = 2
    flat = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    rho = (4 + 1e-4) ** 0.5 - 0.01
    # (1, 2, 4, 3): 24 differences along x, of which 4 are 2; none along y
    assert flow_smoothness(flow, flat).item() == pytest.approx(4 * rho / 24)
    edge = flat.clone()
    edge[..., 2:] = 0.3
    cost = flow_smoothness(flow, edge, sharpness=10).item()
    assert cost == pytest.approx(4 * rho / 24 * 2.718281828**-3)


def test_planes_are_free_of_second_order_only():
    """A flow that grows linearly has a first difference and no second one."""
    u = torch.arange(6, dtype=torch.float64).expand(1, 2, 5, 6)
    flat = torch.zeros(1, 3, 5, 6, dtype=torch.float64)
    assert flow_smoothness(u, flat, order=2).item() == pytest.approx(0, abs=1e-12)
    assert flow_smoothness(u, flat, order=1).item() == pytest.approx((1 + 1e-4) ** 0.5 - 0.01)
    with pytest.raises(ValueError, match="order"):
        flow_smoothness(u, flat, order=3)


def test_smoothness_gradient():
    """gradcheck in float64, both orders."""
    torch.manual_seed(0)
    flow = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    image = torch.rand(1, 3, 4, 5, dtype=torch.float64)
    for order in (1, 2):
        assert torch.autograd.gradcheck(lambda f, k=order: flow_smoothness(f, image, order=k), flow)


# --- as a run ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A sequence of a room of boxes."""
    return write_world(tmp_path_factory.mktemp("world") / "room")


def run_config(world, *words: str) -> TrainConfig:
    """Return the small run's configuration."""
    return small_config(world, "task=flow", "model.flow_width=0.25", "data.shifts=[1]", *words)


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(world, tmp_path):
    """Occlusion begins in the middle: its step is kept; the checkpoint loads as a task."""
    words = ("flow.occlusion_from=3", "optimizer.steps=5", "run.save_every=2")
    train(run_config(world, *words), tmp_path / "whole")
    train(run_config(world, *words, "optimizer.steps=2"), tmp_path / "parts")
    train(run_config(world, *words), tmp_path / "parts", resume=True)
    whole, parts = curve(tmp_path / "whole"), curve(tmp_path / "parts")
    for key in (k for k in whole if k[0] > 2):
        assert parts[key] == pytest.approx(whole[key], rel=1e-5, abs=1e-8), key
    loaded = load_task(tmp_path / "whole")
    assert isinstance(loaded.task, FlowTask) and loaded.task.steps == 5
    assert loaded.scale == "relative"
    names = read_checkpoint(tmp_path / "whole" / "checkpoints" / "last.safetensors")[0]
    assert "task.steps" in names


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("flow.scale_weights=[0,1]", "scale_weights"),
        ("flow.scale_weights=[]", "scale_weights"),
        ("flow.census_radius=0", "census_radius"),
        ("flow.smoothness_weight=-1", "smoothness_weight"),
        ("flow.occlusion=guess", "occlusion"),
        ("flow.teacher=raft_small", "teacher_file"),
        ("flow.teacher_file=raft.pth", "teacher_file"),
        ("flow.window=[32,64]", "window"),
        ("flow.window=[256,256]", "at most data.size"),
        ("flow.window_zoom=1.5", "window_zoom"),
        ("model.flow=flownet", "flow"),
        ("model.flow_width=0", "flow_width"),
        ("model.flow_weights=raft.pth", "flow_weights"),
    ],
)
def test_wrong_values_are_named(word, said):
    """Each bad value is one line that names its key."""
    with pytest.raises(ConfigError, match=said):
        config_of(word)
