#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Frames per second of both renderers on one core, with 2x2 anti-aliasing and all truth, as JSON.

The anchor of each row is the ray renderer on the same frames. Seconds are this process's own CPU
time, so that other programs disturb less; set OMP_NUM_THREADS=1. --scenes N also loads N scenes and
reports memory.
"""

import argparse
import json
import os
import time

import cv2

from depthkit.synth.generate import find_world
from depthkit.synth.render import Renderer, open_renderer
from depthkit.synth.scene import Scene

CASES = {
    "stillbox 128x128": ("stillbox", (128, 128), 60),
    "stillbox 128x416": ("stillbox", (128, 416), 35),
    "street 128x416": ("street", (128, 416), None),
    "colon 256x256": ("colon", (256, 256), 20),
}
FRAMES = 10


def main() -> None:
    """Measure every case and print one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="passes over the frames")
    parser.add_argument("--scenes", type=int, default=0, help="scenes of the memory test; 0: none")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows = {name: measure(*case, repeat=args.repeat) for name, case in CASES.items()}
    if args.scenes:
        rows["memory"] = memory(args.scenes)
    print(json.dumps(rows, indent=1))


def measure(world: str, size: tuple[int, int], wanted: int | None, *, repeat: int) -> dict:
    """Render one scene of a world through both back ends."""
    scene = make_scene(world, size, seed=1)
    fps = {}
    for backend in ("gl", "ray"):
        renderer = open_renderer(backend)
        renderer.load(scene)
        renderer.render(0, 1)
        fps[backend] = round(len(scene) * repeat / seconds(renderer, scene, repeat), 1)
        renderer.close()
    triangles = sum(len(body.mesh.faces) for body in scene.bodies)
    return {
        "fps": fps["gl"],
        "wanted": wanted,
        "fps_ray": fps["ray"],
        "ratio": round(fps["gl"] / fps["ray"], 2),
        "triangles": triangles,
    }


def seconds(renderer: Renderer, scene: Scene, repeat: int) -> float:
    """CPU seconds of rendering all frames with flow and occlusion."""
    start = time.process_time()
    for _ in range(repeat):
        for i in range(len(scene)):
            renderer.render(i, i + 1 if i + 1 < len(scene) else i - 1)
    return time.process_time() - start


def memory(scenes: int) -> dict:
    """Resident megabytes after 50 scenes and after all of them, one frame each."""
    renderer, used = open_renderer("auto"), {}
    for i in range(scenes):
        renderer.load(make_scene("stillbox", (128, 128), seed=i))
        renderer.render(0, 1)
        if i + 1 in (50, scenes):
            used[f"after_{i + 1}"] = round(resident(), 1)
    return {"renderer": renderer.name, "resident_mb": used}


def make_scene(world: str, size: tuple[int, int], seed: int) -> Scene:
    """Draw a scene of a world with its usual options."""
    kind = find_world(world)
    return kind.make(kind.options(), seed, frames=FRAMES, size=size)


def resident() -> float:
    """Resident memory of this process, megabytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
