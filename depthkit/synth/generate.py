# SPDX-License-Identifier: Apache-2.0
"""Many scenes of one world into a data set: seeded, over several processes, restartable."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from depthkit.data.folder import read_settings
from depthkit.data.sequence import read_split, write_split
from depthkit.errors import ConfigError, DataError
from depthkit.synth.imu import find_grade
from depthkit.synth.render import Backend, Renderer, open_renderer
from depthkit.synth.scene import Scene
from depthkit.synth.write import CameraFaults, write_scene

SEEDS_APART = 1_000_000  # scene i of seed s is drawn from s * SEEDS_APART + i


@dataclass(frozen=True)
class World:
    """One kind of scene."""

    options: type
    """Dataclass of the world's options."""
    make: Callable[..., Scene] | None
    """Makes a scene to be rendered; None where pictures are drawn."""
    depth_range: float = 0.0
    """Deepest value stored, metres."""
    write: Callable[..., None] | None = None
    """Writes a sequence of drawn pictures, which needs no renderer."""


def find_world(name: str) -> World:
    """Return a world by its name.

    Raises:
        ConfigError: there is no such world.
    """
    match name:
        case "stillbox":
            from depthkit.synth import stillbox

            make, depth = stillbox.make_stillbox_scene, stillbox.DEPTH_RANGE
            return World(stillbox.StillboxOptions, make, depth)
        case "street":
            from depthkit.synth import street

            return World(street.StreetOptions, street.make_street_scene, street.DEPTH_RANGE)
        case "colon":
            from depthkit.synth import colon

            return World(colon.ColonOptions, colon.make_colon_scene, colon.DEPTH_RANGE)
        case "shapes":
            from depthkit.synth import shapes

            return World(shapes.ShapesOptions, None, write=shapes.write_shapes)
    raise ConfigError(f"unknown world {name!r}; choose from stillbox, street, colon, shapes")


@dataclass(frozen=True)
class SynthPlan:
    """Data set to generate."""

    world: str
    out: Path
    scenes: int
    frames: int
    size: tuple[int, int]
    seed: int = 0
    options: Any = None
    """Options of the world, in the world's own class; None for its defaults."""
    faults: CameraFaults = field(default_factory=CameraFaults)
    split: Literal["train", "val", "test"] = "train"
    name: str = ""
    """Name of the sequences, NAME_00000 and so on; the world's name if empty."""
    truth: bool = True
    """Whether to write flow, occlusion, ids and moving besides depth and poses."""
    imu: str = ""
    """Sensor whose samples are written beside the frames [imu.find_grade]; none if empty."""
    backend: Backend = "auto"
    workers: int = 1

    def __post_init__(self) -> None:
        wanted = find_world(self.world).options
        if self.options is not None and not isinstance(self.options, wanted):
            raise ConfigError(f"options: expected {wanted.__name__}, got {self.options!r}")
        if self.scenes < 1 or self.frames < 1:
            raise ConfigError(
                f"scenes and frames: 1 or more each, got {self.scenes} and {self.frames}"
            )
        if self.is_drawn and (self.imu or self.faults != CameraFaults() or not self.truth):
            raise ConfigError(
                f"{self.world}: drawn pictures have no motion, depth or IMU; blur and noise are "
                "among their options; leave out imu, noise, blur, exposure and depth-only"
            )
        if self.workers < 1:
            raise ConfigError(f"workers: 1 or more, got {self.workers}")
        if self.imu:
            find_grade(self.imu)
            if self.frames < 2:
                raise ConfigError("frames: 2 or more for an IMU, which measures between them")
        if min(self.size) < 16:
            raise ConfigError(f"size: 16 pixels a side or more, got {self.size}")

    @property
    def is_drawn(self) -> bool:
        """Whether its pictures are drawn, without a scene in space."""
        return find_world(self.world).write is not None

    def scene_name(self, i: int) -> str:
        """Return the folder name of scene i."""
        return f"{self.name or self.world}_{i:05d}"

    def scene_options(self) -> Any:
        """Return the world's options."""
        return find_world(self.world).options() if self.options is None else self.options

    def source(self, i: int) -> dict[str, Any]:
        """Return the source record of scene i for camera.yaml: enough to generate it again."""
        return {
            "synthetic": self.world,
            "seed": self.seed * SEEDS_APART + i,
            "frames": self.frames,
            "size": list(self.size),
            "truth": self.truth,
            "options": _plain(asdict(self.scene_options())),
            "faults": asdict(self.faults),
            **({"imu": self.imu} if self.imu else {}),
        }


def generate(plan: SynthPlan, advance: Callable[[int], None]) -> list[str]:
    """Generate the scenes that do not exist yet and add all to split.yaml.

    Args:
        plan: data set to generate.
        advance: called with the number of scenes finished since the last call.

    Returns:
        The names of the sequences.

    Raises:
        DataError: a folder of that name holds something else.
        EngineError: no renderer can be opened.
    """
    renderer = _open_for(plan)  # what is wrong is said once, here
    names = [plan.scene_name(i) for i in range(plan.scenes)]
    todo = [i for i in range(plan.scenes) if not _is_there(plan, i)]
    advance(plan.scenes - len(todo))
    plan.out.mkdir(parents=True, exist_ok=True)
    if plan.workers == 1 or len(todo) < 2:
        for i in todo:
            _make(plan, i, renderer)
            advance(1)
    else:
        _make_parallel(plan, todo, advance)
    split = {part: [n for n in old if n not in names] for part, old in read_split(plan.out).items()}
    split[plan.split] += names
    write_split(plan.out, **split)
    return names


def _is_there(plan: SynthPlan, i: int) -> bool:
    path = plan.out / plan.scene_name(i)
    if not path.exists():
        return False
    known = read_settings(path / "camera.yaml").get("source")
    if known != plan.source(i):
        raise DataError(
            f"{path}: holds another scene (seed, frames, size or options differ); use --name or "
            "--out for another place"
        )
    return True


def _open_for(plan: SynthPlan) -> Renderer | None:
    return None if plan.is_drawn else open_renderer(plan.backend)


def _make(plan: SynthPlan, i: int, renderer: Renderer | None) -> None:
    world, source = find_world(plan.world), plan.source(i)
    path, options, seed = plan.out / plan.scene_name(i), plan.scene_options(), source["seed"]
    if world.write is not None:
        world.write(path, options, seed, frames=plan.frames, size=plan.size, source=source)
        return
    if world.make is None or renderer is None:
        raise RuntimeError("a world makes scenes, which need a renderer, or writes pictures")
    scene = world.make(options, seed, frames=plan.frames, size=plan.size)
    write_scene(
        path,
        scene,
        renderer,
        depth_range=world.depth_range,
        seed=seed,
        faults=plan.faults,
        source=source,
        truth=plan.truth,
        imu=plan.imu,
    )


def _plain(value: Any) -> Any:
    """Convert tuples to lists, as a YAML file returns them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


_renderer: Renderer | None = None  # renderer of a worker process, where its world needs one


def _open(plan: SynthPlan) -> None:
    global _renderer
    _renderer = _open_for(plan)


def _work(plan: SynthPlan, i: int) -> None:
    _make(plan, i, _renderer)


def _make_parallel(plan: SynthPlan, todo: list[int], advance: Callable[[int], None]) -> None:
    """Spread scenes over processes, a few in flight. Spawned: GPU drivers do not survive a fork."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(plan.workers, context, initializer=_open, initargs=(plan,))
    pending: set[Future[None]] = set()
    try:
        for i in todo:
            pending.add(pool.submit(_work, plan, i))
            if len(pending) >= 4 * plan.workers:
                pending = _collect(pending, advance)
        while pending:
            pending = _collect(pending, advance)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collect(pending: "set[Future[None]]", advance: Callable[[int], None]) -> "set[Future[None]]":
    done, rest = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    advance(len(done))
    return rest
