# SPDX-License-Identifier: Apache-2.0
"""Clips in which something goes wrong, made from real ones or rendered: for odometry_faults.py."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.synth.imu import DOWN, T_CAM_IMU, SmoothPath, find_grade, simulate_imu
from depthkit.synth.render import open_renderer
from depthkit.synth.scene import Scene
from depthkit.synth.stillbox import StillboxOptions, make_stillbox_scene
from depthkit.trajectory.imu import Imu

RATE = 30.0  # frames a second of everything that is made here
NOISE = 2.0  # sensor noise of repeated frames, grey levels
Picture = Callable[[], np.ndarray]


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames in order, and what is known of them."""

    name: str
    pictures: list[Picture]
    """Each makes one frame, (H, W, 3) uint8."""
    stamps: np.ndarray
    """Seconds. (N,)"""
    K: np.ndarray
    """Intrinsics, pixels. (3, 3)"""
    still: tuple[int, int] | None = None
    """First and last frame between which the camera does not translate."""
    truth: np.ndarray | None = None
    """T_world_cam, metres; or poses of the same frames without the fault. (N, 4, 4)"""
    imu: Imu | None = None
    notes: dict[str, str] = field(default_factory=dict)


def noisy(image: np.ndarray, seed: int) -> np.ndarray:
    """Add the sensor's noise."""
    noise = np.random.default_rng((seed, 5)).normal(scale=NOISE, size=image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def turned(image: np.ndarray, K: np.ndarray, R: np.ndarray, seed: int) -> np.ndarray:
    """Turn the camera before a picture that is far away and goes on, mirrored, beyond its edges."""
    H = K @ R @ np.linalg.inv(K)
    size = image.shape[1::-1]
    warped = cv2.warpPerspective(image, H, size, borderMode=cv2.BORDER_REFLECT_101)
    return noisy(warped, seed)


def yaw(degrees: float) -> np.ndarray:
    """R_turned_first of a camera that looks to the right by an angle. (3, 3)"""
    return exp_se3([0, 0, 0, 0, -np.radians(degrees), 0])[:3, :3]


def rotations(base: Clip, at: int, *, most: float, frames: int) -> Clip:
    """Play frames up to `at`, then turn on the spot to one side, the other side and back."""
    still = base.pictures[at]()
    angles = most * np.sin(2 * np.pi * np.arange(1, frames + 1) / frames)
    turns = [partial(turned, still, base.K, yaw(a), i) for i, a in enumerate(angles)]
    return spliced(base, at, f"rotation +-{most:g} deg", turns)


def standing(base: Clip, at: int, *, frames: int) -> Clip:
    """Play frames up to `at`, then stand still."""
    still = base.pictures[at]()
    rest = [partial(noisy, still, i) for i in range(frames)]
    return spliced(base, at, f"still for {frames / RATE:.0f} s", rest)


def spliced(base: Clip, at: int, name: str, rest: list[Picture]) -> Clip:
    """Play frames up to `at`, then others without translation."""
    stamps = np.concatenate(
        [base.stamps[: at + 1], base.stamps[at] + np.arange(1, len(rest) + 1) / RATE]
    )
    when = "after motion" if at else "from the start"
    pictures = base.pictures[: at + 1] + rest
    return Clip(f"{name}, {when}", pictures, stamps, base.K, still=(at, len(stamps) - 1))


def changed(
    base: Clip, name: str, change: Callable[[np.ndarray, int], np.ndarray], frames: Iterable[int]
) -> Clip:
    """Change some frames of a clip."""
    pictures = list(base.pictures)
    for i in frames:
        pictures[i] = partial(_change, base.pictures[i], change, i)
    return Clip(name, pictures, base.stamps, base.K, base.still, base.truth, base.imu)


def _change(
    picture: Picture, change: Callable[[np.ndarray, int], np.ndarray], i: int
) -> np.ndarray:
    return change(picture(), i)


def without(base: Clip, name: str, first: int, last: int) -> Clip:
    """Leave frames out: they were lost on the way."""
    keep = np.r_[0:first, last : len(base.stamps)]
    truth = None if base.truth is None else base.truth[keep]
    pictures = [base.pictures[i] for i in keep]
    return Clip(name, pictures, base.stamps[keep], base.K, None, truth, base.imu)


# --- changes of a frame ---------------------------------------------------------------------------


def black(image: np.ndarray, i: int) -> np.ndarray:
    """Cover the lens."""
    return np.zeros_like(image)


def dark_noise(image: np.ndarray, i: int) -> np.ndarray:
    """Cover the lens of a camera that turns its gain up."""
    noise = np.random.default_rng((i, 6)).normal(20, 8, image.shape)
    return np.clip(noise, 0, 255).astype(np.uint8)


def flicker(image: np.ndarray, i: int) -> np.ndarray:
    """Change the gain from 0.5 to 1.5 and back every six frames."""
    return np.clip(image * (1 + 0.5 * np.sin(2 * np.pi * i / 6)), 0, 255).astype(np.uint8)


def band(image: np.ndarray, i: int) -> np.ndarray:
    """Let bands of 0.6 to 1.4 times the brightness roll through the picture, as lamps do."""
    rows = np.arange(len(image)) / len(image)
    gain = 1 + 0.4 * np.sin(2 * np.pi * (2 * rows - 0.13 * i))
    return np.clip(image * gain[:, None, None], 0, 255).astype(np.uint8)


def bus(image: np.ndarray, i: int, *, start: int, frames: int) -> np.ndarray:
    """Drive a wall of texture across that fills a third of the picture."""
    height, width = image.shape[:2]
    long, tall = int(0.5 * width), int(0.67 * height)
    left = int(-long + (width + long) * (i - start) / frames)
    top = height - tall - height // 12
    a, b = max(left, 0), min(left + long, width)
    out = image.copy()
    if b > a:
        out[top : top + tall, a:b] = _wall(tall, long)[:, a - left : b - left]
    return out


def _wall(tall: int, long: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    coarse = rng.integers(30, 225, (tall // 12 + 2, long // 12 + 2, 3)).astype(np.uint8)
    return cv2.resize(coarse, (long, tall), interpolation=cv2.INTER_CUBIC)


# --- rendered -------------------------------------------------------------------------------------


def plane_clip(frames: int = 150) -> Clip:
    """Fly over one textured plane that is tilted by 20 degrees; exact poses."""
    K = np.array([[400.0, 0, 319.5], [0, 400.0, 239.5], [0, 0, 1]])
    rng = np.random.default_rng(3)
    small = rng.integers(20, 235, (260, 260)).astype(np.uint8)
    texture = cv2.resize(small, (2080, 2080), interpolation=cv2.INTER_CUBIC)
    t = np.arange(frames) / frames
    place = np.column_stack([3 * np.sin(4 * t), 1.2 * np.sin(7 * t), 0.8 * np.sin(5 * t)])
    turns = np.column_stack([0.1 * np.sin(5 * t), 0.15 * np.sin(6 * t), 0.1 * np.sin(4 * t)])
    R = exp_se3(np.column_stack([np.zeros((frames, 3)), turns]))[:, :3, :3]
    poses = make_pose(R, place)
    tilt = exp_se3([0, 0, 0, np.radians(20), 0, 0])[:3, :3]
    to_plane = np.column_stack([tilt[:, 0] / 100, tilt[:, 1] / 100, [0, 0, 6.0]])
    to_plane[:, 2] -= 10.4 * (tilt[:, 0] + tilt[:, 1])  # the texture's middle, 6 m ahead
    pictures = [partial(_plane_view, texture, K, to_plane, T) for T in poses]
    return Clip("one plane", pictures, np.arange(frames) / RATE, K, truth=poses)


def _plane_view(texture: np.ndarray, K: np.ndarray, to_plane: np.ndarray, T: np.ndarray):  # type: ignore[no-untyped-def]
    H = K @ inverse(T)[:3] @ np.vstack([to_plane, [0, 0, 1]])
    image = cv2.warpPerspective(texture, H, (640, 480), borderMode=cv2.BORDER_REFLECT_101)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)


def flight(grade: str, *, seed: int = 3, size: tuple[int, int] = (240, 320)) -> Clip:
    """Fly through a synthetic room: motion, a turn on the spot, hovering, motion, a dark second.

    Args:
        grade: kind of IMU [synth.imu.find_grade].
        seed: of room and IMU.
        size: (H, W), pixels.
    """
    poses, parts = _flown(seed)
    stamps = np.arange(len(poses)) / RATE
    room = StillboxOptions(room=(21.0, 24.0), distance=(3.0, 10.0), objects=(40, 50))
    made = make_stillbox_scene(room, seed, frames=4, size=size)
    scene = Scene(made.bodies, made.textures, made.camera, poses, stamps, made.light)
    renderer = open_renderer()
    renderer.load(scene)
    pictures: list[Picture] = []
    for i in range(len(stamps)):
        image = noisy(renderer.render(float(i), truth=False).rgb, i)
        dark = parts["dark"][0] <= i < parts["dark"][1]
        pictures.append(partial(np.copy, dark_noise(image, i) if dark else image))
    renderer.close()
    path = SmoothPath(stamps, poses, T_CAM_IMU)
    imu = simulate_imu(path, find_grade(grade), seed=seed, down=DOWN)[0]
    return Clip(f"flight, {grade}", pictures, stamps, scene.camera.K, None, poses, imu)


def _flown(seed: int) -> tuple[np.ndarray, dict[str, tuple[int, int]]]:
    """Poses of the flight, and its parts in frames."""
    seconds = {"move": 8, "turn": 3, "hover": 3, "on": 4, "dark": 1, "back": 4}
    ends = np.cumsum(list(seconds.values()))
    t = np.arange(int(ends[-1] * RATE)) / RATE
    # Time that passes for the translation: it stands during the turn and while hovering.
    rate = np.where((t > ends[0]) & (t < ends[2]), 0.0, 1.0)
    clock = np.cumsum(_smooth(rate)) / RATE
    rng = np.random.default_rng((seed, 9))
    phase = rng.uniform(0, 2 * np.pi, (2, 3))
    swing = 0.6 * np.sin(clock[:, None] * (1.9, 2.3, 1.5) + phase[0])
    sway = 0.12 * np.sin(clock[:, None] * (1.1, 0.9, 1.3) + phase[1])
    turning = _smooth(((t > ends[0]) & (t < ends[1])).astype(float))
    spot = np.radians(40) * np.sin(2 * np.pi * np.cumsum(turning) / max(turning.sum(), 1))
    sway[:, 1] += spot
    R = exp_se3(np.column_stack([np.zeros((len(t), 3)), sway]))[:, :3, :3]
    begins = dict(zip(seconds, np.r_[0, ends[:-1]] * RATE, strict=True))
    parts = {k: (int(begins[k]), int(begins[k] + n * RATE)) for k, n in seconds.items()}
    return make_pose(R, swing), parts


def _smooth(x: np.ndarray, half: int = 8) -> np.ndarray:
    window = np.hanning(2 * half + 3)
    padded = np.pad(x, half + 1, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")
