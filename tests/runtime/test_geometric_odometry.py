# SPDX-License-Identifier: Apache-2.0
"""Geometric odometry as a whole: what it publishes, and that nothing moves which did not."""

import hashlib
import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from odometry_flights import (
    RATE,
    known,
    noisy,
    pictures,
    places,
    plain,
    play,
    poses,
    standing,
    truth,
    turning,
)
from plane_flight import K

import depthkit.runtime.odometry.landmark_map as landmark_map
from depthkit.errors import ShapeError
from depthkit.rigid import inverse
from depthkit.runtime.motion.told import Motion
from depthkit.runtime.odometry.geometric import GeometricConfig, GeometricOdometry
from depthkit.trajectory.imu import Imu

STOP = 20  # frame after which a fault begins


# --- the contract ---------------------------------------------------------------------------------


def test_path_over_a_plane_is_that_of_the_camera():
    """Everything in one plane: places are right to 1 % of the depth, over 0.94 depths."""
    _, results = plain()
    error = np.linalg.norm(places(results) - truth(poses())[:, :3, 3], axis=1)
    assert known(results)[5:].all()
    assert error[5:].max() < 0.01


def test_motions_chain_to_the_poses_of_a_segment():
    """T_world_cam is the last known pose times T_previous_current."""
    _, results = plain()
    before = None
    for one in results:
        if before is not None and before.reason == "":
            chained = before.T_world_cam @ one.T_previous_current
            np.testing.assert_allclose(chained, one.T_world_cam, atol=1e-9)
            assert one.since == before.stamp
        before = one


def test_frames_without_a_motion_say_why_and_stay_relative():
    """Before the start: a reason, no motion, unknown scale, the first segment."""
    _, results = plain()
    waiting = [one for one in results if one.reason]
    assert waiting[0].reason.startswith("first frame")
    assert all(one.reason.startswith("waiting for parallax") for one in waiting[1:])
    assert all(one.T_previous_current is None for one in waiting)
    assert {(one.segment, one.scale, one.scale_state.state) for one in results} == {
        (0, "relative", "unknown")
    }


def test_points_project_to_their_pixels():
    """Mapped landmarks lie on the rays of their pixels, to 2 pixels in the median well below."""
    _, results = plain()
    last = results[-1]
    good = last.points.sigma < 0.2
    there = last.points.positions[good] @ inverse(last.T_world_cam)[:3, :3].T
    there += inverse(last.T_world_cam)[:3, 3]
    pixels = there[:, :2] / there[:, 2:] * (K[0, 0], K[1, 1]) + K[:2, 2]
    off = np.linalg.norm(pixels - last.points.pixels[good], axis=1)
    assert good.sum() > 50
    assert np.median(off) < 0.5


def test_smoothed_path_covers_the_frames_before_the_start():
    """Every frame is in the smoothed path, those that waited too, in place."""
    odometry, results = plain()
    path = odometry.smoothed()
    np.testing.assert_allclose(path.stamps, [one.stamp for one in results])
    error = np.linalg.norm(path.poses[:, :3, 3] - truth(poses())[:, :3, 3], axis=1)
    assert error.max() < 0.01


def test_reset_forgets_everything():
    """After a reset the same frames give the same results."""
    frames = pictures(poses()[:8])
    odometry = GeometricOdometry()
    first = play(frames, odometry)
    odometry.reset()
    again = play(frames, odometry)
    assert _digest(first) == _digest(again)


def test_metres_that_become_known_begin_a_segment():
    """The live path changes its unit once, under another number, with the reason."""
    odometry, results = GeometricOdometry(), []
    steps = np.linalg.norm(np.diff(poses()[:, :3, 3], axis=0), axis=1)
    for i, image in enumerate(pictures(poses())):
        told = Motion(displacement=float(steps[i - 1])) if i else Motion()
        results.append(odometry.process(image, stamp=i / RATE, K=K, motion=told))
    first = next(one for one in results if one.scale == "metric")
    assert first.reason.startswith("the scale became known")
    assert (first.segment, results[-1].segment, results[-1].scale) == (1, 1, "metric")
    metric = [i for i, one in enumerate(results) if one.segment == 1]
    moved = np.linalg.norm(places(results)[-1] - places(results)[metric[0]])
    told = np.linalg.norm(poses()[-1, :3, 3] - poses()[metric[0], :3, 3])
    assert moved == pytest.approx(told, rel=0.03)


# --- nothing moves that did not -------------------------------------------------------------------


def test_a_depth_network_tells_the_scale():
    """A map of 3.7 times the landmarks' depth: 3.7 metres a unit, by name; a wrong size is said."""
    odometry, images = GeometricOdometry(), pictures(poses())
    assert odometry.tell_depth(np.ones((240, 320))) == "the newest frame has no pose"
    results = []
    for i, image in enumerate(images[:30]):
        results.append(odometry.process(image, stamp=i / RATE, K=K))
        if results[-1].points is None:
            continue
        R, t = results[-1].T_world_cam[:3, :3], results[-1].T_world_cam[:3, 3]
        unit = 1.0 if results[-1].scale == "relative" else 3.7
        depth = np.median(((results[-1].points.positions - t) @ R)[:, 2]) / unit
        assert odometry.tell_depth(np.full(image.shape[:2], 3.7 * depth)) == ""
    assert results[-1].scale_state.source == "depth network" and results[-1].scale == "metric"
    steps = np.linalg.norm(np.diff(places(results[-6:]), axis=0), axis=1)
    wanted = 3.7 * np.linalg.norm(np.diff(places(plain()[1][24:30]), axis=0), axis=1)
    assert steps.sum() == pytest.approx(wanted.sum(), rel=0.05)
    with pytest.raises(ShapeError):
        odometry.tell_depth(np.ones((2, 2)))


def test_turning_on_the_spot_from_the_start_moves_nothing():
    """A pure rotation: its angle is known, no motion is, and the place stays exactly."""
    angles = 8 * np.sin(np.arange(30) / 5)
    results = play(pictures(turning(poses()[0], angles)), change=noisy)
    assert not known(results).any()
    assert np.abs(places(results)).max() == 0
    assert results[8].T_world_cam[0, 2] == pytest.approx(np.sin(np.radians(angles[8])), abs=2e-3)


def test_standing_from_the_start_moves_nothing():
    """Still frames with noise: no motion is known, and no place changes."""
    results = play(pictures(standing(poses()[0], 30)), change=noisy)
    assert not known(results).any()
    assert np.abs(places(results)).max() == 0


@pytest.mark.parametrize("most", [10, 40])
def test_turning_on_the_spot_after_motion_keeps_the_place(most):
    """Turned away until the map is out of view, and back: under 2 % of the depth."""
    turn = turning(poses()[STOP], most * np.sin(np.pi * np.arange(1, 31) / 30))
    results = play(pictures(np.concatenate([poses()[: STOP + 1], turn])), change=noisy)
    spot = places(results)[STOP]
    assert known(results)[STOP:].all()
    assert np.linalg.norm(places(results)[STOP:] - spot, axis=1).max() < 0.02


def test_standing_after_motion_keeps_the_place():
    """Still frames with noise after motion: under 0.3 % of the depth."""
    path = np.concatenate([poses()[: STOP + 1], standing(poses()[STOP], 30)])
    results = play(pictures(path), change=noisy)
    assert known(results)[STOP:].all()
    assert np.linalg.norm(places(results)[STOP:] - places(results)[STOP], axis=1).max() < 3e-3


@pytest.mark.parametrize("moves", [False, True])
def test_a_bus_does_not_carry_the_camera_along(moves):
    """A wall of texture crosses a third of the picture, while standing and while moving: 3 % of the
    depth (0.67 depths where fresh tracks may outvote the map)."""
    rest = poses()[STOP + 1 :] if moves else standing(poses()[STOP], 19)
    path = np.concatenate([poses()[: STOP + 1], rest])
    results = play(pictures(path), change=_bus)
    error = np.linalg.norm(places(results) - truth(path)[:, :3, 3], axis=1)
    assert known(results)[STOP:].all()
    assert error[STOP:].max() < 0.03


def test_nothing_is_tracked_where_the_picture_is_said_to_move():
    """With the probability of being static at hand no landmark lies on the wall of texture."""
    odometry, frames = (
        GeometricOdometry(),
        [_bus(one, i) for i, one in enumerate(pictures(poses()))],
    )
    plain_frames = pictures(poses())
    for i, (frame, bare) in enumerate(zip(frames, plain_frames, strict=True)):
        static = np.where((frame != bare).any(axis=2), 0.1, 1.0)
        result = odometry.process(frame, stamp=i / RATE, K=K, static=static)
        if i > STOP:
            u, v = np.rint(result.points.pixels).astype(int).T
            assert result.reason == "" and (static[v, u] > 0.5).mean() > 0.99


def test_changing_light_is_no_motion():
    """Flicker of the gain between 0.6 and 1.4 and rolling bands: the path of the plain run."""
    results = play(pictures(poses()), change=_light)
    error = np.linalg.norm(places(results) - truth(poses())[:, :3, 3], axis=1)
    assert known(results)[6:].all()
    assert error[6:].max() < 0.025


# --- frames that are missing or unusable ----------------------------------------------------------


def test_a_covered_lens_is_named_and_the_path_goes_on():
    """Black frames have a reason; after them the same segment goes on at the right place."""
    results = play(pictures(poses()), change=lambda image, i: image * (not STOP <= i < STOP + 4))
    assert [one.reason.startswith("the frame is black") for one in results[STOP : STOP + 4]] == (
        [True] * 4
    )
    after = results[STOP + 4]
    assert (after.reason, after.segment, after.since) == ("", 0, (STOP - 1) / RATE)
    error = np.linalg.norm(places(results) - truth(poses())[:, :3, 3], axis=1)
    assert error[STOP + 4 :].max() < 0.015


def test_lost_frames_cost_nothing_but_themselves():
    """Five frames are missing: the segment goes on at the right place."""
    kept = np.r_[0:STOP, STOP + 5 : 40]
    results = play([pictures(poses())[i] for i in kept], stamps=kept / RATE)
    error = np.linalg.norm(places(results) - truth(poses())[kept, :3, 3], axis=1)
    assert known(results)[STOP:].all()
    assert error[STOP:].max() < 0.015


def test_another_view_is_named_and_begins_a_segment():
    """A view that shares nothing with the last: lost, another segment, then a start of its own."""
    far = poses()[:14].copy()
    far[:, 1, 3] += 8.0  # the same flight elsewhere
    results = play(pictures(np.concatenate([poses()[:STOP], far])))
    assert results[STOP].reason.startswith("lost")
    assert results[STOP].segment == 1
    assert (results[-1].segment, results[-1].reason) == (1, "")


def test_a_repeated_frame_is_left_out():
    """A driver sends a frame twice: said, and the segment goes on."""
    frames = pictures(poses())
    frames.insert(STOP, frames[STOP - 1])
    stamps = np.insert(np.arange(40) / RATE, STOP, (STOP - 1) / RATE)
    results = play(frames, stamps=stamps)
    assert "came before" in results[STOP].reason
    assert (results[STOP + 1].reason, results[STOP + 1].segment) == ("", 0)
    assert results[STOP + 1].since == results[STOP - 1].stamp


@pytest.mark.parametrize(
    ("frame", "stamp", "words"),
    [
        ("size", STOP / RATE, "another size"),
        ("same", 0.1, "time ran back"),
        ("same", 9.0, "no frame for"),
    ],
)
def test_a_break_begins_a_segment_with_its_reason(frame, stamp, words):
    """Another size, time running back, a long pause: a segment of its own, and why."""
    image = pictures(poses()[STOP : STOP + 1])[0]
    odometry = GeometricOdometry()
    play(pictures(poses()[:STOP]), odometry)
    image = image[:-8] if frame == "size" else pictures(turning(poses()[0], [180.0]))[0] + 1
    result = odometry.process(image, stamp=stamp, K=K)
    assert words in result.reason
    assert result.segment == 1


@pytest.mark.parametrize("kind", ["no K", "16 bit", "stamp"])
def test_bad_input_is_one_line_and_costs_one_frame(kind):
    """No K, 16 bits, a stamp that is no number: a reason, and the next frame goes on."""
    frames, odometry = pictures(poses()[:12]), GeometricOdometry()
    play(frames[:10], odometry)
    image = frames[10].astype(np.uint16) if kind == "16 bit" else frames[10]
    stamp = np.nan if kind == "stamp" else 10 / RATE
    result = odometry.process(image, stamp=stamp, K=None if kind == "no K" else K)
    assert result.reason
    assert "\n" not in result.reason
    assert result.T_previous_current is None
    after = odometry.process(frames[11], stamp=11 / RATE, K=K)
    assert (after.reason, after.segment) == ("", 0)


def test_frames_60_pixels_wide_work():
    """Small frames are enlarged: the same path to 2 % of the depth."""
    odometry, small_K, results = GeometricOdometry(), np.diag([60 / 320, 60 / 320, 1]) @ K, []
    for i, image in enumerate(pictures(poses())):
        small = cv2.resize(image, (60, 45), interpolation=cv2.INTER_AREA)
        results.append(odometry.process(small, stamp=i / RATE, K=small_K))
    error = np.linalg.norm(places(results) - truth(poses())[:, :3, 3], axis=1)
    assert known(results)[8:].all()
    assert error[8:].max() < 0.02


def test_a_bare_wall_is_named():
    """Without texture there is nothing to follow: said with the number of corners."""
    results = play([np.full((240, 320, 3), 120, np.uint8)] * 3)
    assert all("corners are too few" in one.reason for one in results)


# --- suspicions -----------------------------------------------------------------------------------


def test_an_imu_in_g_is_said_once():
    """Two seconds of specific force of length 1: one note, however often it is found."""
    rows = np.zeros((600, 7))
    rows[:, 0], rows[:, 6] = np.arange(600) / 200, 1.0
    rows[:, 1:] += np.random.default_rng(1).normal(0, 1e-3, (600, 6))
    imu = Imu(rows, np.eye(4))
    odometry = GeometricOdometry(imu=imu)
    image = pictures(poses()[:1])[0]
    for before, stamp in zip(np.arange(0.0, 2.9, 0.1), np.arange(0.1, 3.0, 0.1), strict=False):
        odometry.process(image, stamp=float(stamp), K=K, imu=imu.between(before, stamp))
    assert len([note for note in odometry.notes if "are these g?" in note]) == 1


def test_an_imu_without_overlap_is_said():
    """Stamps of another clock: no sample falls between frames, and that is said."""
    rows = np.zeros((400, 7))
    rows[:, 0], rows[:, 6] = 1e6 + np.arange(400) / 200, 9.81
    imu = Imu(rows, np.eye(4))
    odometry = GeometricOdometry(imu=imu)
    for i, image in enumerate(pictures(poses()[:8])):
        stamp = i / RATE
        odometry.process(image, stamp=stamp, K=K, imu=imu.between(stamp - 1 / RATE, stamp))
    assert any("silent" in note for note in odometry.notes)


# --- the same bytes, and bounded memory -----------------------------------------------------------


def test_the_same_frames_give_the_same_bytes_beside_a_busy_thread():
    """Two runs are equal to the last bit, also while another thread loads the machine."""
    frames, stop = pictures(poses()[:25]), threading.Event()

    def load():
        while not stop.is_set():
            cv2.GaussianBlur(np.zeros((300, 300), np.float32), (0, 0), 5)

    quiet = _digest(play(frames))
    thread = threading.Thread(target=load)
    thread.start()
    try:
        busy = _digest(play(frames))
    finally:
        stop.set()
        thread.join()
    assert quiet == busy


def test_keyframes_and_slots_are_bounded(monkeypatch):
    """To and fro for long: keyframes, landmarks and waiting frames stay few."""
    monkeypatch.setattr(landmark_map, "MOST_KEYFRAMES", 6)
    odometry = GeometricOdometry()
    path = np.concatenate([poses(), poses()[::-1]])
    play(pictures(path), odometry)
    world = odometry._tracker.world
    assert world.numbered > 12
    assert len(world.keyframes) == 6
    seen = set(np.concatenate([one.slots for one in world.keyframes]))
    held = set(np.flatnonzero(world.identity >= 0))
    assert held <= seen | set(odometry._tracker.tracks.slots)


def test_waiting_frames_hold_no_pictures():
    """A camera that stands keeps tracks of its frames, not their pixels."""
    odometry = GeometricOdometry()
    play(pictures(standing(poses()[0], 5)), odometry, change=noisy)
    kept = odometry._tracker.waiting
    assert len(kept) == 4
    assert all(one.frame.image.base is None and one.frame.image.size == 0 for one in kept)


@pytest.mark.slow
def test_five_runs_of_a_real_clip_give_the_same_bytes(data_root):
    """60 frames of EuRoC MH_01, five times: every pose, point and reason is the same."""
    folder = data_root / "euroc_mh01" / "mav0" / "cam0" / "data"
    frames = [cv2.imread(str(path))[..., ::-1].copy() for path in sorted(folder.iterdir())[:60]]
    focal = np.array([[458.0, 0, 367], [0, 457.0, 248], [0, 0, 1]])
    digests = set()
    for _ in range(5):
        odometry = GeometricOdometry()
        results = [
            odometry.process(frame, stamp=i / RATE, K=focal) for i, frame in enumerate(frames)
        ]
        digests.add(_digest(results))
    assert len(digests) == 1


@pytest.mark.slow
def test_memory_is_flat_over_ten_minutes():
    """To and fro for ten minutes: resident memory grows by less than 4 MB once the keyframes and
    places are as many as may be kept, after three minutes."""
    frames = pictures(np.concatenate([poses(), poses()[::-1]]))
    odometry, resident = GeometricOdometry(GeometricConfig(keep_path=False)), []
    for i in range(int(600 * RATE)):
        odometry.process(frames[i % len(frames)], stamp=i / RATE, K=K)
        if i == 180 * RATE or i == 600 * RATE - 1:
            resident.append(_resident_mb())
    assert resident[1] - resident[0] < 8
    assert len(odometry._tracker.world.keyframes) <= landmark_map.MOST_KEYFRAMES


# --- helpers --------------------------------------------------------------------------------------


def _digest(results):
    digest = hashlib.sha256()
    for one in results:
        digest.update(one.T_world_cam.tobytes())
        digest.update(f"{one.segment} {one.reason} {one.scale_state}".encode())
        if one.points is not None:
            digest.update(one.points.positions.tobytes() + one.points.sigma.tobytes())
    return digest.hexdigest()


def _resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _bus(image, i):
    if i <= STOP:
        return image
    wall = np.random.default_rng(7).integers(30, 225, (20, 20, 3)).astype(np.uint8)
    wall = cv2.resize(wall, (160, 160), interpolation=cv2.INTER_CUBIC)
    left = -160 + 24 * (i - STOP)
    a, b = max(left, 0), min(left + 160, 320)
    out = image.copy()
    if b > a:
        out[70:230, a:b] = wall[:, a - left : b - left]
    return out


def _light(image, i):
    rows = np.arange(240)[:, None, None] / 240
    gain = (1 + 0.4 * np.sin(i)) * (1 + 0.2 * np.sin(2 * np.pi * (2 * rows - 0.13 * i)))
    return np.clip(image * gain, 0, 255).astype(np.uint8)
