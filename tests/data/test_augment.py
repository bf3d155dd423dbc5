# SPDX-License-Identifier: Apache-2.0
"""Random changes keep geometry true: after each, depth, K and motion still rebuild the target."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from depthkit.data.augment import Variation, jitter_colours, mirror, vary, zoom_and_crop
from depthkit.data.snippet import Snippet
from depthkit.geometry.warp import warp_to_target
from depthkit.rigid import inverse
from depthkit.synth.boxes import box_camera, make_box_scene, render
from depthkit.synth.path import camera_path

ALL = Variation(flip=True, colour_jitter=0.2, zoom=1.3, flip_vertical=True)


@pytest.fixture(scope="module")
def snippet() -> Snippet:
    """A target with exact depth and two sources with exact motions, K off the centre, 72 x 96."""
    camera, poses = box_camera((72, 108)), camera_path(3, 4)
    shown = [render(make_box_scene(4), camera, poses[i]) for i in (1, 0, 2)]
    K = torch.from_numpy(camera.cropped(0, 0, (72, 96)).K).float()  # cx = 53.5 of 96 columns
    rgb = torch.stack([torch.from_numpy(f.rgb).permute(2, 0, 1) for f in shown]).float() / 255
    T = np.stack([inverse(poses[i]) @ poses[1] for i in (0, 2)])
    valid = torch.ones(1, 72, 96, dtype=torch.bool)
    valid[:, :5, :9] = False
    return Snippet(
        target=rgb[0, ..., :96],
        sources=rgb[1:, ..., :96],
        K=K,
        shifts=torch.tensor([-1, 1]),
        T_source_target_gt=torch.from_numpy(T).float(),
        valid=valid,
        depth_gt=torch.from_numpy(shown[0].depth)[None, :, :96],
        names=("room/000001",),
    )


def rebuild_error(snippet: Snippet) -> float:
    """Median absolute colour error over the sources, valid pixels, as a share of the range."""
    count = len(snippet.sources)
    warped = warp_to_target(
        snippet.sources,
        snippet.depth_gt.expand(count, -1, -1, -1),
        T_source_target=snippet.T_source_target_gt,
        K=snippet.K.expand(count, 3, 3),
    )
    error = (warped.image - snippet.target).abs().mean(1, keepdim=True)
    return error[warped.valid & snippet.valid].median().item()


def test_truth_rebuilds_the_untouched_target(snippet):
    """The fixture itself is exact: half a per cent of the range."""
    assert rebuild_error(snippet) < 0.005


@pytest.mark.parametrize("vertical", [False, True])
def test_mirrored_truth_rebuilds_the_mirrored_target(snippet, vertical):
    """K and motions follow: the error is the very one of the untouched snippet."""
    mirrored = mirror(snippet, vertical=vertical)
    assert rebuild_error(mirrored) == pytest.approx(rebuild_error(snippet), rel=0.02)


@pytest.mark.parametrize(
    ("vertical", "wrong"),
    [(False, "K"), (False, "T_source_target_gt"), (True, "T_source_target_gt")],
)
def test_mirror_without_its_motion_or_its_centre_does_not(snippet, vertical, wrong):
    """Leaving cx or the motion as it was shows: the test above can fail."""
    mirrored = mirror(snippet, vertical=vertical)
    left = replace(mirrored, **{wrong: getattr(snippet, wrong)})
    assert rebuild_error(left) > 1.5 * rebuild_error(snippet)


def test_mirror_by_hand(snippet):
    """cx' = 95 - 53.5 = 41.5; x of a translation changes sign, so do turns about y and z."""
    mirrored, K = mirror(snippet), snippet.K
    assert mirrored.K.tolist() == [[K[0, 0], 0, 41.5], [0, K[1, 1], K[1, 2]], [0, 0, 1]]
    T, M = snippet.T_source_target_gt, mirrored.T_source_target_gt
    assert torch.equal(M[:, :3, 3], T[:, :3, 3] * torch.tensor([-1.0, 1, 1]))
    assert torch.equal(M[:, 1, 2], T[:, 1, 2]) and torch.equal(M[:, 0, 2], -T[:, 0, 2])
    assert torch.equal(mirrored.target[..., 0], snippet.target[..., -1])
    assert not mirrored.valid[0, 0, -1] and mirrored.valid[0, 0, 0]


def test_vertical_mirror_by_hand(snippet):
    """cy' = 71 - cy; y of a translation changes sign, so do turns about x and z."""
    mirrored, K = mirror(snippet, vertical=True), snippet.K
    assert mirrored.K.tolist() == [[K[0, 0], 0, K[0, 2]], [0, K[1, 1], 71 - K[1, 2]], [0, 0, 1]]
    T, M = snippet.T_source_target_gt, mirrored.T_source_target_gt
    assert torch.equal(M[:, :3, 3], T[:, :3, 3] * torch.tensor([1.0, -1, 1]))
    assert torch.equal(M[:, 0, 2], T[:, 0, 2]) and torch.equal(M[:, 1, 2], -T[:, 1, 2])
    assert torch.equal(mirrored.target[:, 0], snippet.target[:, -1])
    assert torch.equal(mirrored.depth_gt[:, 0], snippet.depth_gt[:, -1])


@pytest.mark.parametrize("vertical", [False, True])
def test_mirror_twice_is_the_snippet(snippet, vertical):
    """Twice in the mirror is the world."""
    again = mirror(mirror(snippet, vertical=vertical), vertical=vertical)
    for f in fields(Snippet):
        if f.name != "names":
            torch.testing.assert_close(getattr(again, f.name), getattr(snippet, f.name))


@pytest.mark.parametrize("scale", [1.0, 1.15, 1.37])
@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.4, 0.7), (1.0, 1.0)])
def test_zoomed_truth_rebuilds_the_zoomed_target(snippet, scale, corner):
    """K follows enlarging and cropping: truth still rebuilds, whatever the corner."""
    zoomed = zoom_and_crop(snippet, scale, corner=np.array(corner))
    assert zoomed.target.shape == snippet.target.shape
    assert zoomed.depth_gt.shape == snippet.depth_gt.shape
    assert rebuild_error(zoomed) < 0.006


def test_zoom_without_its_intrinsics_does_not(snippet):
    """The old K no longer rebuilds the enlarged target."""
    zoomed = zoom_and_crop(snippet, 1.37, corner=np.array([0.0, 1.0]))
    assert rebuild_error(replace(zoomed, K=snippet.K)) > 1.5 * rebuild_error(zoomed)


def test_zoom_by_hand(snippet):
    """Twice as large, cut at the lower right: f' = 2 f, c' = 2 (c + 0.5) - 0.5 less the corner."""
    zoomed = zoom_and_crop(snippet, 2.0, corner=np.array([1.0, 1.0]))
    K = snippet.K
    expected = [
        [2 * K[0, 0], 0, 2 * (53.5 + 0.5) - 0.5 - 96],
        [0, 2 * K[1, 1], 2 * (K[1, 2] + 0.5) - 0.5 - 72],
        [0, 0, 1],
    ]
    torch.testing.assert_close(zoomed.K, torch.tensor(expected))
    # Pixel (2i, 2j) and its neighbours show pixel (i, j) of the lower right quarter.
    assert torch.equal(zoomed.depth_gt[:, ::2, ::2], snippet.depth_gt[:, 36:, 48:])
    assert torch.equal(zoomed.depth_gt[:, 1::2, 1::2], snippet.depth_gt[:, 36:, 48:])
    assert torch.equal(zoomed.valid[:, ::2, ::2], snippet.valid[:, 36:, 48:])


def test_zoom_keeps_unknown_depth_unknown(snippet):
    """Depth and masks are never blended: no value appears that was not there, 0 included."""
    holes = snippet.depth_gt.clone()
    holes[:, ::3] = 0
    zoomed = zoom_and_crop(replace(snippet, depth_gt=holes), 1.23, corner=np.array([0.5, 0.5]))
    assert np.isin(zoomed.depth_gt.numpy(), holes.numpy()).all()
    assert (zoomed.depth_gt == 0).any() and zoomed.valid.dtype == torch.bool


def test_factors_of_one_change_no_colour(snippet):
    """Brightness, contrast and saturation of one are the identity."""
    same = jitter_colours(snippet, np.ones(3))
    torch.testing.assert_close(same.target, snippet.target, atol=1e-6, rtol=0)
    torch.testing.assert_close(same.sources, snippet.sources, atol=1e-6, rtol=0)


@pytest.mark.parametrize("factors", [(1.2, 1, 1), (1, 0.8, 1), (1, 1, 1.2), (0.8, 1.2, 0.8)])
def test_all_frames_get_one_and_the_same_change(snippet, factors):
    """A source that equals the target still does after it: brightness constancy is kept."""
    sources = torch.stack([snippet.target, snippet.sources[1]])
    changed = jitter_colours(replace(snippet, sources=sources), np.array(factors))
    assert torch.equal(changed.sources[0], changed.target)
    assert (changed.target - snippet.target).abs().max() > 0.005
    assert changed.target.min() >= 0 and changed.sources.max() <= 1
    alone = jitter_colours(replace(snippet, sources=sources[:1]), np.array(factors))
    torch.testing.assert_close(alone.sources[0], changed.sources[0])


def test_brightness_and_contrast_by_hand(snippet):
    """Grey 0.2 and 0.6, mean 0.4: brightness 1.5 gives 0.3, 0.9; contrast 0.5 gives 0.3, 0.5."""
    target = torch.full((3, 72, 96), 0.2)
    target[..., 48:] = 0.6
    grey = replace(snippet, target=target)
    bright = jitter_colours(grey, np.array([1.5, 1, 1])).target[0, 0, [0, -1]]
    torch.testing.assert_close(bright, torch.tensor([0.3, 0.9]))
    flat = jitter_colours(grey, np.array([1, 0.5, 1])).target[0, 0, [0, -1]]
    torch.testing.assert_close(flat, torch.tensor([0.3, 0.5]), atol=1e-4, rtol=0)


def test_variation_follows_its_generator(snippet):
    """The same seed gives the same snippet, another seed another."""
    one, same, other = (vary(snippet, ALL, np.random.default_rng(s)) for s in (3, 3, 4))
    assert torch.equal(one.sources, same.sources) and torch.equal(one.K, same.K)
    assert not torch.equal(one.target, other.target)


def test_any_variation_keeps_the_truth(snippet):
    """All changes at once, twelve times: truth still rebuilds the target, half are mirrored."""
    varied = [vary(snippet, ALL, np.random.default_rng(seed)) for seed in range(12)]
    assert max(rebuild_error(v) for v in varied) < 0.01
    flipped = [v.T_source_target_gt[0, 0, 3] != snippet.T_source_target_gt[0, 0, 3] for v in varied]
    assert 2 <= sum(map(bool, flipped)) <= 10


def test_no_variation_is_the_snippet_itself(snippet):
    """All switched off: nothing is drawn, nothing copied."""
    off = Variation(flip=False, colour_jitter=0.0, zoom=1.0)
    assert vary(snippet, off, np.random.default_rng(0)) is snippet


def test_arguments_are_not_edited(snippet):
    """A snippet is a record: K, images and maps stay as they were."""
    before = {f.name: getattr(snippet, f.name) for f in fields(Snippet) if f.name != "names"}
    copies = {name: value.clone() for name, value in before.items()}
    for seed in range(4):
        vary(snippet, ALL, np.random.default_rng(seed))
    assert all(torch.equal(before[name], copies[name]) for name in before)


def test_unknown_motions_stay_unknown(snippet):
    """NaN matrices pass through the mirror as NaN, known ones beside them unharmed."""
    T = snippet.T_source_target_gt.clone()
    T[0] = torch.nan
    mirrored = mirror(replace(snippet, T_source_target_gt=T)).T_source_target_gt
    assert mirrored[0].isnan().all() and mirrored[1].isfinite().all()
