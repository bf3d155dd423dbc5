# SPDX-License-Identifier: Apache-2.0
"""The law of Delta: its posterior by hand, what moves does not move it, and CC's rule."""

import math

import pytest
import torch
from torch import Tensor

from depthkit.errors import ShapeError
from depthkit.losses.coop import (
    DeltaLaw,
    DeltaModel,
    cc_static,
    compare_errors,
    first_law,
    gap_score,
    refit_law,
    spread_samples,
    static_posterior,
)


def law_of(location: float, scale: float, tail: float, share: float) -> DeltaLaw:
    """Return a law in float64."""
    return DeltaLaw(*torch.tensor([location, scale, tail, share], dtype=torch.float64))


def laplace(count: int, scale: float, seed: int = 0) -> Tensor:
    """Draw static Deltas around 0. (count,)"""
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(count, generator=generator, dtype=torch.float64) - 0.5
    return -scale * u.sign() * (1 - 2 * u.abs()).log()


def with_outliers(share: float, *, count: int = 20_000, scale: float = 0.01) -> Tensor:
    """Mix static Deltas with moving ones that are evenly spread from 10 to 30 scales."""
    moving = round(count * share)
    far = torch.linspace(10 * scale, 30 * scale, moving, dtype=torch.float64)
    return torch.cat([laplace(count - moving, scale), far])


# --- posterior -----------------------------------------------------------------------------------


def test_posterior_by_hand():
    """Scale 0.01, tail 0.1, share 0.1: odds 0.9 * 0.1 / (2 * 0.01 * 0.1) = 45 at the location.

    They fall by exp(-90 x): even at x = ln 45 / 90, 45 e^-9 at a tenth; left of it nothing moves.
    """
    law = law_of(0.002, 0.01, 0.1, 0.1)
    x = torch.tensor([-0.05, 0, math.log(45) / 90, 0.1], dtype=torch.float64)
    expected = torch.tensor([1, 45 / 46, 0.5, 45 * math.exp(-9) / (1 + 45 * math.exp(-9))])
    torch.testing.assert_close(static_posterior(x + 0.002, law), expected.double())


def test_posterior_is_the_two_densities():
    """Anywhere right of the location it is Bayes' rule of Laplace and exponential density."""
    law = law_of(0.0, 0.02, 0.15, 0.07)
    x = torch.linspace(0, 0.5, 20, dtype=torch.float64)
    static = 0.93 * (-x / 0.02).exp() / 0.04
    moving = 0.07 * (-x / 0.15).exp() / 0.15
    torch.testing.assert_close(static_posterior(x, law), static / (static + moving))


def test_posterior_falls_with_delta():
    """A larger Delta never makes a pixel more static."""
    p = static_posterior(torch.linspace(-1, 1, 200), law_of(0.01, 0.02, 0.1, 0.2))
    assert (p.diff() <= 0).all() and p[0] == 1 and p[-1] < 1e-6


# --- fitting -------------------------------------------------------------------------------------


def fit(samples: Tensor) -> DeltaLaw:
    """Return the first law of a model that is shown these samples."""
    model = DeltaModel().double()
    model.update(samples)
    return model.current()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.15, 0.2])
def test_outliers_hardly_move_the_static_law(share):
    """Location, scale and share are found, of up to 15 % that move; of more the scale is wider.

    Taken for 15 % the quantile 0.75 * 0.85 of all is the quantile q = 0.75 * 0.85 / (1 - share) of
    static pixels, which lies -log2(2 - 2 q) scales ln 2 to the right: 1.3 where a fifth moves.
    """
    law = fit(with_outliers(share))
    told = min(share, 0.15)
    wider = -math.log2(2 - 1.5 * (1 - told) / (1 - share))
    assert law.scale.item() == pytest.approx(0.01 * wider, rel=0.06)
    assert abs(law.location.item()) < 0.001
    assert told <= law.share.item() < min(1.2 * told + 0.02, 0.1501)


def test_a_mixture_of_the_model_is_found_again():
    """Drawn from the law itself, a tenth moving with a mean of 15 scales: that comes back."""
    generator = torch.Generator().manual_seed(1)
    far = -0.15 * (1 - torch.rand(2000, generator=generator, dtype=torch.float64)).log()
    law = fit(torch.cat([laplace(18_000, 0.01), far]))
    assert law.scale.item() == pytest.approx(0.01, rel=0.03)
    assert abs(law.location.item()) < 5e-4
    assert law.share.item() == pytest.approx(0.1, rel=0.05)
    assert law.tail.item() == pytest.approx(0.15, rel=0.05)


@pytest.mark.parametrize("wider", [1.5, 2, 3])
def test_a_wider_right_side_does_not_move(wider):
    """Errors of depth alone: that side's scale is the law's, and no share grows out of nothing."""
    samples = laplace(20_000, 0.01)
    law = fit(torch.where(samples > 0, wider * samples, samples))
    assert law.scale.item() == pytest.approx(0.01 * wider, rel=0.03)
    assert law.share.item() < 0.005


def test_farther_outliers_change_nothing_static():
    """The same static pixels, what moves ten times as far: location and scale stay the same."""
    near = with_outliers(0.1)
    far = torch.where(near > 0.0999, 10 * near, near)
    one, other = fit(near), fit(far)
    assert other.scale.item() == pytest.approx(one.scale.item(), rel=0.03)
    assert other.location.item() == pytest.approx(one.location.item(), abs=1e-3)


def test_one_refit_by_hand():
    """Five samples, all static to the law: median 0; scale of the left (0.02 + 0.01) / 2."""
    samples = torch.tensor([-0.02, -0.01, 0.0, 0.01, 0.02], dtype=torch.float64)
    law = refit_law(samples, law_of(0.5, 0.01, 0.1, 0.1))
    assert law.location.item() == 0 and law.scale.item() == pytest.approx(0.015)
    assert law.share.item() == 0
    assert law.tail.item() == pytest.approx(0.06)  # four scales, the least
    first = first_law(samples)
    assert first.scale.item() == pytest.approx(0.015) and first.share.item() == pytest.approx(0.05)


def test_the_scale_is_the_upper_quartile_s_where_the_right_side_is_wider():
    """Median 0, the left 0.015 away; the quartile of the share that is static, over ln 2.

    Five samples are four steps: 0.75 of 0.95 is step 2.85, of 0.9 it is 2.7, between 0 and 0.03.
    """
    samples = torch.tensor([-0.02, -0.01, 0.0, 0.03, 0.09], dtype=torch.float64)
    assert first_law(samples).scale.item() == pytest.approx(0.85 * 0.03 / math.log(2))
    law = refit_law(samples, law_of(0.5, 0.01, 0.1, 0.1))
    assert law.scale.item() == pytest.approx(0.7 * 0.03 / math.log(2))
    far = torch.tensor([-0.02, -0.01, 0.0, 0.03, 9.0], dtype=torch.float64)  # one that moves
    assert first_law(far).scale.item() == pytest.approx(0.85 * 0.03 / math.log(2))


@pytest.mark.parametrize(("least", "moving", "said"), [(0.1, 0.0, 0.1), (0.002, 0.4, 0.15)])
def test_the_share_is_kept_in_its_range(least, moving, said):
    """The samples of one step say less than the least, or more than 15 %."""
    model = DeltaModel(momentum=0.0, least_share=least).double()
    model.law.copy_(torch.tensor([0.0, 0.01, 0.15, 0.2])), model.fitted.fill_(True)
    samples = with_outliers(moving)
    free = refit_law(samples, model.current()).share.item()
    assert free < least or free > 0.35
    model.update(samples)
    assert model.current().share.item() == pytest.approx(said)
    first = DeltaModel(least_share=least).double()
    first.update(laplace(5000, 0.01))  # nothing moves
    assert least <= first.current().share.item() < least + 0.01


def test_the_law_runs():
    """After the first fit each step moves the law by 1 - momentum of the way to the new one."""
    model = DeltaModel(momentum=0.75).double()
    model.update(laplace(5000, 0.01))
    before, samples = model.law.clone(), laplace(5000, 0.02, seed=1) + 0.005
    goal = torch.stack(refit_law(samples, model.current()))
    model.update(samples)
    torch.testing.assert_close(model.law, 0.75 * before + 0.25 * goal)


def test_a_law_can_be_begun_again():
    """After forgetting, the next samples alone make the law."""
    model = DeltaModel().double()
    model.update(laplace(5000, 1.0))
    model.forget()
    model.update(laplace(5000, 0.01))
    assert model.current() == fit(laplace(5000, 0.01))


def test_what_is_not_known_is_left_out():
    """NaN samples count for nothing; none at all leaves the law as it was."""
    samples = laplace(1000, 0.01)
    holes = torch.full((500,), torch.nan, dtype=torch.float64)
    assert fit(samples) == fit(torch.cat([holes, samples]))
    model = DeltaModel()
    model.update(holes)
    assert not model.fitted and model.law.isfinite().all()


def test_equal_pictures_keep_a_law():
    """A camera that stands still: all Deltas 0, the scale stops at its least, nothing moves."""
    law = fit(torch.zeros(100, dtype=torch.float64))
    assert law.scale.item() == pytest.approx(1e-4) and static_posterior(law.location, law) > 0.99


def test_all_of_the_law_is_in_the_checkpoint():
    """A model with the buffers of another one says the same."""
    model, other = DeltaModel(), DeltaModel()
    model.update(laplace(1000, 0.03).float())
    other.load_state_dict(model.state_dict())
    more = laplace(1000, 0.01, seed=2).float()
    model.update(more), other.update(more)
    assert torch.equal(model.law, other.law) and set(model.state_dict()) == {"law", "fitted"}


# --- Delta ---------------------------------------------------------------------------------------


def maps(*values: list[float]) -> Tensor:
    """Write sources of one row of pixels. (S, 1, 1, 1, W)"""
    return torch.tensor(values)[:, None, None, None]


def test_delta_by_hand():
    """Each error of its best source, of those that both reconstructions see; 0 where none does."""
    rigid, flow = maps([0.3, 0.9, 0.5], [0.4, 0.2, 0.5]), maps([0.1, 0.1, 0.5], [0.3, 0.3, 0.5])
    seen = torch.tensor([[True, False, False], [True, True, False]])[:, None, None, None]
    difference = compare_errors(rigid, flow, seen, window=1)
    # pixel 0: 0.3 - 0.1; pixel 1: of the second source alone, 0.2 - 0.3
    torch.testing.assert_close(difference.delta.flatten(), torch.tensor([0.2, -0.1, 0.0]))
    assert difference.known.flatten().tolist() == [True, True, False]
    # a window of 3 averages over the known ones
    wide = compare_errors(rigid, flow, seen, window=3).delta.flatten()
    torch.testing.assert_close(wide, torch.tensor([0.05, 0.05, 0.0]))


def test_log_ratio_by_hand():
    """Delta = log((rigid + 0.01) / (flow + 0.01)): ln 10, 0 and -ln 10, then their averages."""
    rigid, flow = maps([0.19, 0.5, 0.01]), maps([0.01, 0.5, 0.19])
    seen = torch.ones_like(rigid, dtype=torch.bool)
    difference = compare_errors(rigid, flow, seen, window=1, ratio=True)
    ten = math.log(10)
    torch.testing.assert_close(difference.delta.flatten(), torch.tensor([ten, 0, -ten]))
    assert torch.equal(difference.rigid, rigid[0]) and torch.equal(difference.flow, flow[0])
    wide = compare_errors(rigid, flow, seen, window=3, ratio=True).delta.flatten()
    torch.testing.assert_close(wide, torch.tensor([ten / 2, 0, -ten / 2]))  # the mean of logarithms


def test_texture_raises_the_difference_and_not_the_ratio():
    """Both errors ten times as large, as where contrast is: ten times the difference, one ratio."""
    rigid, flow = maps([0.04, 0.49]), maps([0.01, 0.19])  # plus 0.01: 0.05, 0.5 and 0.02, 0.2
    seen = torch.ones_like(rigid, dtype=torch.bool)
    poor, rich = compare_errors(rigid, flow, seen, window=1).delta.flatten()
    torch.testing.assert_close(rich, 10 * poor)
    poor, rich = compare_errors(rigid, flow, seen, window=1, ratio=True).delta.flatten()
    torch.testing.assert_close(rich, poor)
    torch.testing.assert_close(poor.item(), math.log(2.5))


def test_what_is_no_number_is_not_known():
    """One network that says NaN makes pixels unknown, never Delta NaN."""
    rigid = torch.full((1, 1, 1, 4, 4), torch.nan)
    flow = torch.zeros(1, 1, 1, 4, 4)
    difference = compare_errors(rigid, flow, torch.ones_like(flow, dtype=torch.bool))
    assert not difference.known.any() and (difference.delta == 0).all()
    samples = spread_samples(difference.delta, difference.known)
    assert samples.isnan().all()


def test_shapes_are_checked():
    """Errors of another shape are the caller's bug."""
    with pytest.raises(ShapeError, match="flow"):
        compare_errors(torch.zeros(2, 1, 1, 4, 4), torch.zeros(1, 1, 1, 4, 4), torch.zeros(1))


def test_samples_are_spread():
    """About as many as asked for, from all over the picture, image by image."""
    delta = torch.arange(2 * 120 * 200.0).view(2, 1, 120, 200)
    samples = spread_samples(delta, torch.ones_like(delta, dtype=torch.bool), most=600)
    assert 500 <= len(samples) / 2 <= 700
    first, second = samples.chunk(2)
    assert first.max() > 0.9 * 120 * 200 and second.min() == 120 * 200


# --- Competitive Collaboration -------------------------------------------------------------------


def test_cc_rule_by_hand():
    """Static where the rigid error is not the larger, or the flows agree to 0.01 px, u and v."""
    rigid = torch.tensor([0.1, 0.3, 0.3, 0.3]).view(1, 1, 1, 4)
    flow = torch.tensor([0.2, 0.1, 0.1, 0.1]).view(1, 1, 1, 4)
    gap = torch.tensor([[5.0, 5.0, 0.005, 0.005], [5.0, 5.0, -0.005, 0.02]]).view(1, 2, 1, 4)
    graded = cc_static(rigid, flow, gap).flatten()
    assert (graded >= 0.5).tolist() == [True, False, True, False]
    assert graded[0].item() == pytest.approx(0.2 / 0.3, abs=1e-4)
    strict = cc_static(rigid, flow, gap, rigid_weight=3.0).flatten()
    assert (strict >= 0.5).tolist() == [False, False, True, False]


def test_cc_label_is_a_probability_where_errors_are_rounding():
    """Errors of equal pictures lie on either side of 0: 1/2 where both do, never outside [0, 1]."""
    tiny = torch.tensor([-1.5e-6, -0.9e-6, 0.0, 2e-6])
    rigid, flow = (x.reshape(1, 1, 1, -1) for x in torch.meshgrid(tiny, tiny, indexing="ij"))
    found = cc_static(rigid, flow, torch.ones(1, 2, 1, 16)).view(4, 4)
    assert found.min() >= 0 and found.max() <= 1
    assert found[:3, :3].flatten().tolist() == pytest.approx([0.5] * 9)
    assert found[3, 0].item() == pytest.approx(0.25) and found[0, 3].item() == pytest.approx(0.75)


# --- the gap -------------------------------------------------------------------------------------


def vectors(*pixels: tuple[float, float]) -> Tensor:
    """Write a row of vectors, of one source. (1, 1, 2, 1, W)"""
    return torch.tensor(pixels).T[None, None, :, None]


def row(*pixels: bool) -> Tensor:
    """Write a row of one source's pixels. (1, 1, 1, 1, W)"""
    return torch.tensor(pixels)[None, None, None, None]


@pytest.mark.parametrize(
    ("gap", "parallax", "score"),
    [
        ((3.0, 4.0), (6.0, 8.0), 2.0),  # 5 along, 1/2 + 10/5
        ((-3.0, -4.0), (6.0, 8.0), 2.0),  # the other way
        ((-2.4, 1.8), (6.0, 8.0), 3.0),  # 3 across, 1/2 + 10/20
        ((1.8, 5.9), (6.0, 8.0), math.sqrt(2.32**2 + 2.1**2)),  # 5.8 along, 2.1 across
        ((0.6, 0.8), (0.0, 0.0), 2.0),  # no direction: 1 / (1/2)
        ((0.6, 0.8), (1e-6, 0.0), 2.0),  # hardly any
        ((0.0, 0.0), (6.0, 8.0), 0.0),
        ((300.0, 400.0), (0.0, 0.0), 8.0),  # the most
    ],
)
def test_gap_score_by_hand(gap, parallax, score):
    """Along the parallax an error of a fifth of it is usual, across of a twentieth."""
    found = gap_score(vectors(gap), vectors(parallax), row(True), window=1)
    assert found.item() == pytest.approx(score, rel=1e-4)


def test_gap_score_takes_the_best_source_that_is_seen():
    """The least score, not the shortest gap; unseen and NaN ones do not count; 0 without any."""
    across, along = (-1.6, 1.2), (1.5, 2.0)  # scores 2 and 1 with (6, 8)
    none = (math.nan, 0.0)
    first = vectors(across, across, across, none, none)
    gap = torch.cat([first, vectors(along, along, none, none, across)])
    parallax = vectors((6.0, 8.0)).expand_as(gap)
    seen = torch.cat([row(True, True, True, True, True), row(True, False, True, True, False)])
    found = gap_score(gap, parallax, seen, window=1).flatten()
    torch.testing.assert_close(found, torch.tensor([1.0, 2, 2, 0, 0]))
    around = gap_score(gap, parallax, seen, window=3).flatten()  # of those that are known
    torch.testing.assert_close(around, torch.tensor([1.5, 5 / 3, 2, 0, 0]))


def test_a_failure_of_flow_weighs_little():
    """A thousand pixels count as 8 in the average of those around."""
    gap, still = vectors((0.5, 0.0), (1000.0, 0.0), (0.5, 0.0)), vectors((0.0, 0.0))
    found = gap_score(gap, still.expand_as(gap), row(True, True, True), window=3).flatten()
    torch.testing.assert_close(found, torch.tensor([4.5, 10 / 3, 4.5]))


def test_gap_score_checks_shapes():
    """Gaps without sources, and a parallax of another size, are the caller's bug."""
    one, seen = vectors((1.0, 0.0)), row(True)
    with pytest.raises(ShapeError, match="gap"):
        gap_score(one[0], one[0], seen[0])
    with pytest.raises(ShapeError, match="parallax"):
        gap_score(one, one.expand(2, -1, -1, -1, -1), seen)


def test_a_wrong_depth_is_not_told_for_motion():
    """Parallax of 20 px, depth wrong by up to a third, a tenth that moves by 4 to 12 px across.

    By the length of their gaps all are static; by the score the law tells them apart.
    """
    generator = torch.Generator().manual_seed(0)
    noise = 0.2 * torch.randn(2, 20_000, generator=generator)
    along = 20 / 3 * (2 * torch.rand(18_000, generator=generator) - 1)
    across = torch.linspace(4, 12, 2000)
    noise[0, :18_000] += along
    noise[1, 18_000:] += across
    parallax = torch.tensor([20.0, 0.0])[None, None, :, None, None].expand(1, 1, 2, 1, 20_000)
    seen = torch.ones(1, 1, 1, 1, 20_000, dtype=torch.bool)
    score = gap_score(noise[None, None, :, None], parallax, seen, window=1).flatten()
    model, blind = DeltaModel(), DeltaModel()
    model.update(score), blind.update(noise.norm(dim=0))
    static = model.posterior(score)
    assert 0.09 < model.current().share.item() < 0.14
    assert static[:18_000].mean() > 0.95 and static[18_000:].mean() < 0.1
    assert blind.posterior(noise.norm(dim=0))[18_000:].mean() > 0.9


def test_evidence_is_the_likelihood_ratio():
    """Posterior log odds are evidence plus log odds of the shares."""
    model = DeltaModel().double()
    model.update(laplace(1000, 1.0))
    share = model.current().share
    x = model.current().location + torch.tensor([0.0, 0.1, 3.0], dtype=torch.float64)
    odds = model.evidence(x) + ((1 - share) / share).log()
    torch.testing.assert_close(odds.sigmoid(), model.posterior(x))
