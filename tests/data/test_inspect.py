# SPDX-License-Identifier: Apache-2.0
"""The data doctor must name every planted fault, and none where there is none."""

from dataclasses import replace

import numpy as np
import pytest
from plane_world import CAMERA, make_texture, pose, render, write_sequence

from depthkit.data.inspect import inspect_sequence, suggest_shifts
from depthkit.errors import DataError

TEXTURE = make_texture()
MOVING = [render(TEXTURE, pose(x=0.025 * i)) for i in range(30)]
"""3.25 px a frame to the side, before a wall."""


def _noisy(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def _brighter(image: np.ndarray, levels: int) -> np.ndarray:
    return np.clip(image.astype(int) + levels, 0, 255).astype(np.uint8)


# --- motion --------------------------------------------------------------------------------------


def test_known_translation_is_measured_within_five_percent(tmp_path):
    """A camera that slides 25 mm a frame at 2 m shows fx * 0.025 / 2 = 3.25 px a frame."""
    found = inspect_sequence(write_sequence(tmp_path / "slide", MOVING))
    for figures in found.gaps:
        if 1 < figures.gap <= 8:
            assert figures.parallax_px == pytest.approx(3.25 * figures.gap, rel=0.05)
            assert figures.rotation_deg < 0.1 * figures.gap
    assert found.rotation_spans == () and found.static_spans == ()


def test_suggested_shift_reaches_the_useful_parallax(tmp_path):
    """3.25 px of 240 lines is 1.73 px of 128: two frames reach 3 px, one does not."""
    seq = write_sequence(tmp_path / "slide", MOVING)
    found = inspect_sequence(seq)
    assert found.can_teach
    assert found.suggested_shifts == (-2, 2) == suggest_shifts(seq)
    assert all(found.usable) and "yes" in found.verdict


def test_rotation_on_the_spot_is_named_as_a_span(tmp_path):
    """Frames 15 to 30 turn by K R K^-1 without a step; before and after the camera slides."""
    x = np.concatenate([np.arange(16) * 0.03, np.full(14, 0.45), 0.45 + np.arange(1, 17) * 0.03])
    yaw = np.concatenate([np.zeros(15), np.arange(16) * 0.8, np.full(15, 12.0)])
    frames = [render(TEXTURE, pose(x=a, yaw=b)) for a, b in zip(x, yaw, strict=True)]
    found = inspect_sequence(write_sequence(tmp_path / "turn", frames))
    ((start, end),) = found.rotation_spans
    assert abs(start - 15) <= 1 and abs(end - 30) <= 1
    assert not any(found.usable[start : end + 1]) and found.usable[5] and found.usable[40]


def test_video_that_only_turns_teaches_nothing(tmp_path):
    """The verdict is no, with the reason and what to do."""
    frames = [render(TEXTURE, pose(yaw=0.8 * i - 10, pitch=0.2 * i)) for i in range(25)]
    seq = write_sequence(tmp_path / "pan", frames)
    found = inspect_sequence(seq)
    assert not found.can_teach and found.suggested_shifts == ()
    assert "rotation-only" in found.verdict and "sideways" in found.advice[0]
    assert [f.rotation_deg for f in found.per_frame[5:10]] == pytest.approx([0.825] * 5, abs=0.03)
    with pytest.raises(DataError, match="pan: no shift to suggest"):
        suggest_shifts(seq)


@pytest.mark.parametrize("step", [0, 1, 20])
def test_brightness_step_of_a_motionless_camera_is_not_motion(tmp_path, step):
    """All frames are static; 20 levels are a brightness jump, 1 level is nothing at all."""
    still = _noisy(MOVING[0], 2.0, 99)
    frames = [_noisy(_brighter(still, step if i >= 10 else 0), 1.5, seed=i) for i in range(20)]
    found = inspect_sequence(write_sequence(tmp_path / "still", frames))
    assert found.static_spans == ((0, 19),)
    assert not found.can_teach and "static" in found.verdict
    assert max(f.parallax_px for f in found.per_frame[:-1]) < 0.3
    jumps = [i for i, _ in found.brightness_jumps]
    assert jumps == ([9] if step == 20 else [])
    if jumps:
        assert found.brightness_jumps[0][1] == pytest.approx(20, abs=1)


def test_pure_brightness_step_without_noise_is_not_motion(tmp_path):
    """One level more on every second frame: nothing moved and nothing is a copy."""
    frames = [_brighter(MOVING[0], i % 2) for i in range(12)]
    found = inspect_sequence(write_sequence(tmp_path / "flicker", frames))
    assert found.static_spans == ((0, 11),) and found.brightness_jumps == ()
    assert max(f.flow_px for f in found.per_frame[:-1]) < 0.05


def test_sensor_noise_is_not_motion(tmp_path):
    """Ten grey levels of noise before a standing camera stay a standing camera."""
    frames = [_noisy(MOVING[0], 10.0, seed=i) for i in range(12)]
    found = inspect_sequence(write_sequence(tmp_path / "noise", frames))
    assert found.static_spans == ((0, 11),) and not found.can_teach
    assert found.faults["duplicate"] == ()


def test_objects_that_move_before_a_standing_camera_are_not_parallax(tmp_path):
    """A quarter of the picture slides by, the camera stands."""
    frames = []
    for i in range(16):
        frame = _noisy(MOVING[0], 1.0, seed=i)
        frame[60:180, 4 * i : 4 * i + 150] = TEXTURE[500:620, 300:450]
        frames.append(frame)
    found = inspect_sequence(write_sequence(tmp_path / "traffic", frames))
    assert found.static_spans == ((0, 15),)
    assert np.median([f.parallax_px for f in found.per_frame[:-1]]) < 0.3


def test_stop_in_the_middle_is_dropped_and_the_rest_kept(tmp_path):
    """The camera stands from frame 15 to 29; a frame of the stop stays, the rest is not usable."""
    stop = [_noisy(MOVING[14], 1.5, seed=i) for i in range(15)]
    frames = [*MOVING[:15], *stop, *MOVING[15:]]
    found = inspect_sequence(write_sequence(tmp_path / "stop", frames))
    ((start, end),) = found.static_spans
    assert abs(start - 14) <= 1 and abs(end - 29) <= 1
    assert found.can_teach and found.suggested_shifts[1] in (2, 3)
    assert sum(found.usable) == len(frames) - (end - start)
    assert any("drop 1 static" in line for line in found.advice)


def test_slow_camera_is_not_static(tmp_path):
    """0.1 px a frame is below any single step that can be told, but adds up."""
    frames = [render(TEXTURE, pose(x=0.1 / 130 * i)) for i in range(30)]
    found = inspect_sequence(write_sequence(tmp_path / "slow", frames))
    assert found.static_spans == () and not found.can_teach
    assert "--every" in found.advice[0]


# --- single frames -------------------------------------------------------------------------------


def test_faults_of_single_frames_are_named(tmp_path):
    """Dark, blown out, blank, copied, re-encoded, truncated and wrongly sized, all by index."""
    frames = list(MOVING)
    frames[4] = (MOVING[4] * 0.1).astype(np.uint8)
    frames[8] = np.clip(MOVING[8] * 2.4, 0, 255).astype(np.uint8)
    frames[12] = np.full_like(MOVING[12], 90)
    frames[16] = frames[15]
    frames[20] = _brighter(frames[19], 0)
    frames[20][::40, ::40] += 2
    seq = write_sequence(tmp_path / "faulty", frames)
    whole = seq.frames[24].read_bytes()
    seq.frames[24].write_bytes(whole[: len(whole) // 2])
    small = write_sequence(
        tmp_path / "small", [MOVING[0][:120]], camera=CAMERA.cropped(0, 0, (120, 320))
    )
    seq.frames[27].write_bytes(small.frames[0].read_bytes())
    found = inspect_sequence(seq)
    assert found.faults["dark"] == (4,)
    assert found.faults["blown_out"] == (8,)
    assert found.faults["featureless"] == (12,)
    assert found.faults["duplicate"] == (16, 20)
    assert found.faults["unreadable"] == (24, 27)
    assert "truncated" in found.unreadable_reasons["24"]
    assert "320x120" in found.unreadable_reasons["27"]
    assert any("1 frames have another size" in line for line in found.camera.findings)
    assert [i for i, ok in enumerate(found.usable) if not ok] == [4, 8, 12, 16, 20, 24, 27]
    assert found.can_teach and any("2 unreadable" in line for line in found.advice)


def test_cut_is_named_and_a_slide_is_not(tmp_path):
    """Frames before and after a cut share nothing; everywhere else they do."""
    other = make_texture(seed=5)
    frames = MOVING[:15] + [render(other, pose(x=0.025 * i)) for i in range(15)]
    found = inspect_sequence(write_sequence(tmp_path / "cut", frames))
    assert found.breaks == (14,)


def test_folder_of_unreadable_frames_gets_a_verdict(tmp_path):
    """No frame reads: no crash, and the verdict says why."""
    seq = write_sequence(tmp_path / "ruin", MOVING[:12])
    for frame in seq.frames:
        frame.write_bytes(b"nothing")
    found = inspect_sequence(seq)
    assert not found.can_teach and "unreadable" in found.verdict
    assert found.faults["unreadable"] == tuple(range(12))


@pytest.mark.parametrize("level, fault", [(0, "dark"), (255, "blown-out"), (120, "featureless")])
def test_blank_video_is_refused_for_what_it_is(tmp_path, level, fault):
    """No texture: unmeasured is not taken for motion, and the remedy fits the fault."""
    seq = write_sequence(tmp_path / "blank", [np.full_like(MOVING[0], level)] * 12)
    found = inspect_sequence(seq)
    assert not found.can_teach and fault in found.verdict
    with pytest.raises(DataError, match="nothing in the frames can be tracked"):
        suggest_shifts(seq)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_frames_are_refused_without_a_crash(tmp_path, count):
    """Shorter than any shift could use."""
    found = inspect_sequence(write_sequence(tmp_path / "short", MOVING[:count]))
    assert not found.can_teach and f"only {count} frames" in found.verdict


def test_implausible_intrinsics_are_named(tmp_path):
    """A field of view of 12 degrees, oblong pixels and a corner as centre each get a finding."""
    camera = replace(CAMERA, fx=1500.0, fy=1300.0, cx=40.0)
    found = inspect_sequence(write_sequence(tmp_path / "k", MOVING[:3], camera=camera)).camera
    text = " ".join(found.findings)
    assert "fx/fy" in text and "principal point" in text and "field of view" in text
    assert inspect_sequence(write_sequence(tmp_path / "ok", MOVING[:3])).camera.findings == ()


def test_only_the_first_frames_are_looked_at_when_asked(tmp_path):
    """max_frames bounds the pass; frames not looked at count as usable."""
    seq = write_sequence(tmp_path / "slide", [*MOVING[:20], *[np.zeros_like(MOVING[0])] * 10])
    found = inspect_sequence(seq, max_frames=12)
    assert (found.frames, found.checked, len(found.per_frame)) == (30, 12, 12)
    assert found.faults["dark"] == () and len(found.usable) == 30
