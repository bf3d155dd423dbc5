# SPDX-License-Identifier: Apache-2.0
"""Frames found in orthophotos of another time: the figures of `depthkit localise`.

    python scripts/places/localise_pairs.py rendered|seasons|flight --data shared/data

rendered  views with exact poses of the older LEVIR pictures put side by side: error, and how often
          the truth lies within the stated 90 % band.
seasons   turned and zoomed views of the newer LEVIR pictures in the mosaic of the older ones, years
          apart; false: the same views in a mosaic without their place.
flight    DJI stills of Brighton Beach: an orthophoto from two of three, placed by the features they
          share and their GPS; the others are looked for; error against their GPS.

One configuration, `OrthoConfig()` with the height of the flight; `flight` also says that its gimbal
holds the camera within a degree. The pairs whose names begin with train and val, and test_113, were
looked at while the method was built; the other pairs, the rendered views and the flight were not.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depthkit.geodesy import Georeference, metres_between, to_utm, unprojection, utm_zone
from depthkit.multiview.features import detect_sift, match
from depthkit.runtime.ortho.config import OrthoConfig
from depthkit.runtime.ortho.fix import OrthoFix
from depthkit.runtime.ortho.localiser import OrthoLocaliser
from depthkit.runtime.ortho.plane_pose import straight_down

SIDE, COLUMNS, METRES = 256, 4, 0.5
SIZE = (240, 320)
K = np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])
HEIGHT = 85.0
"""Metres above ground that the views of the LEVIR pictures are told; they are taken at 67 to 105.
"""
LEAST = 12
"""Features that two stills of the flight must share to hold each other."""
CHI2_90 = 4.605
"""90 % of a sum of two squared normal numbers."""


@dataclass(frozen=True)
class Pair:
    """Two pictures of one place."""

    name: str
    old: np.ndarray
    new: np.ndarray


def load_pairs(folder: Path) -> list[Pair]:
    """Read the LEVIR pairs; of a larger one the first 256x256 pixels."""
    names = sorted(path.name for path in (folder / "A").glob("*.png"))
    read = [[cv2.imread(str(folder / side / name)) for side in "AB"] for name in names]
    return [
        Pair(name, *(np.ascontiguousarray(one[:SIDE, :SIDE, ::-1]) for one in two))
        for name, two in zip(names, read, strict=True)
    ]


def mosaic(pairs: list[Pair]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Put the older pictures side by side; return it and where each begins, (u, v)."""
    rows = -(-len(pairs) // COLUMNS)
    image = np.zeros((rows * SIDE, COLUMNS * SIDE, 3), np.uint8)
    corners = []
    for i, pair in enumerate(pairs):
        v, u = (SIDE * n for n in divmod(i, COLUMNS))
        image[v : v + SIDE, u : u + SIDE] = pair.old
        corners.append(np.array([u, v], np.float64))
    return image, corners


def made_up_reference() -> Georeference:
    """Half a metre a pixel, somewhere in UTM zone 14."""
    affine = np.array([[METRES, 0, 620_000.0], [0, -METRES, 3_350_000.0]])
    return Georeference("EPSG:32614", affine, unprojection(32614))


def localiser(image: np.ndarray, config: OrthoConfig) -> OrthoLocaliser:
    """Index a mosaic."""
    valid = image.max(axis=2) > 0
    return OrthoLocaliser(image, made_up_reference(), K=K, size=SIZE, valid=valid, config=config)


def seasons(data: Path, config: OrthoConfig, views: int) -> None:
    """Print rate, error and false fixes of views years after the orthophoto."""
    pairs = load_pairs(data / "levir_pairs")
    whole, corners = mosaic(pairs)
    at_home = localiser(whole, config)
    without = [localiser(mosaic(pairs[k::2])[0], config) for k in (1, 0)]
    rng = np.random.default_rng(0)
    rows, false, there, absent = [], 0, {}, []
    for i, pair in enumerate(pairs):
        for _ in range(views):
            frame, middle = turned_view(pair.new, rng)
            at_home.reset()
            found = at_home.process(frame)
            there.setdefault(pair.name, []).append(found.evidence)
            if isinstance(found, OrthoFix):
                error = METRES * np.linalg.norm(found.pixel - middle - corners[i])
                rows.append((pair.name, error, found.sigma_position))
            without[i % 2].reset()
            other = without[i % 2].process(frame)
            absent.append(other.evidence)
            false += isinstance(other, OrthoFix)
    for group in ("train_", "val_", "test_"):
        names = [pair.name for pair in pairs if pair.name.startswith(group)]
        chosen = [one for one in rows if one[0] in names]
        errors = np.array([one[1] for one in chosen])
        places = len({one[0] for one in chosen})
        print(
            f"{group:7} {len(names)} places, {len(names) * views} views: found {len(chosen)} of "
            f"{places} places, within 5 m {int((errors < 5).sum())}, wrong (over 25 m) "
            f"{int((errors > 25).sum())}, {middle_of(errors, 'error')}, "
            f"{middle_of([one[2] for one in chosen], 'sigma')}"
        )
    for name, values in there.items():
        print(f"  {name}: evidence {', '.join(f'{one:.1f}' for one in values)}")
    print(f"largest evidence without the place: {max(absent):.1f}")
    print(f"views of places that the mosaic lacks: {false} of {len(pairs) * views} found (false)")


def turned_view(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """See a part of a picture straight down, at any heading; return it and its middle, (u, v)."""
    zoom, angle = rng.uniform(0.45, 0.7), rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    height, width = SIZE
    half = zoom / 2 * np.array([width * abs(c) + height * abs(s), width * abs(s) + height * abs(c)])
    low, high = np.minimum(half, (SIDE - 1) / 2), np.maximum(SIDE - 1 - half, (SIDE - 1) / 2)
    middle = rng.uniform(low, high)
    A = zoom * np.array([[c, -s], [s, c]])
    M = np.column_stack([A, middle - A @ K[:2, 2]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, M, SIZE[::-1], flags=how, borderMode=cv2.BORDER_REFLECT), middle


def rendered(data: Path, config: OrthoConfig, views: int) -> None:
    """Print error and coverage of views with exact poses."""
    image, _ = mosaic(load_pairs(data / "levir_pairs"))
    at_home, rng = localiser(image, config), np.random.default_rng(0)
    errors, inside, nees, headings = [], [], [], []
    total = 10 * views
    metres = made_up_reference().metres_at((np.array(image.shape[1::-1]) - 1) / 2)
    for _ in range(total):
        T, foot, heading = random_pose(image, metres, rng)
        found = at_home.process(see(image, T, foot, metres, rng))
        at_home.reset()
        if not isinstance(found, OrthoFix):
            continue
        delta = metres @ (found.pixel - foot)
        d2 = float(delta @ np.linalg.solve(found.covariance[:2, :2], delta))
        errors.append(float(np.linalg.norm(delta)))
        inside.append(d2 <= CHI2_90)
        nees.append(d2 / 2)
        headings.append(abs((found.heading - heading + 180) % 360 - 180))
    print(
        f"{len(errors)} of {total} found: {middle_of(errors, 'error')}, largest {max(errors):.2f} "
        f"m; heading {np.median(headings):.3f} degrees; in the 90 % band {np.mean(inside):.0%}; "
        f"NEES a number of the position: mean {np.mean(nees):.2f}, median {np.median(nees):.2f}"
    )


def random_pose(
    image: np.ndarray, metres: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw a pose above the image; tilts of 3 degrees about two axes.

    Returns:
        T_plane_cam about the foot, the foot (pixels), and the heading (degrees).
    """
    height, angle = rng.uniform(70, 100), rng.uniform(0, 2 * np.pi)
    foot = rng.uniform(110, np.array(image.shape[1::-1]) - 110)
    T = straight_down(height * np.exp(1j * angle), 0j)
    tilt = np.r_[np.radians(rng.normal(0, 3, 2)), 0.0]
    T[:3, :3] = T[:3, :3] @ cv2.Rodrigues(tilt)[0]
    up = -T[:2, 1]
    return T, foot, float(np.degrees(np.arctan2(up[0], up[1])) % 360)


def see(
    image: np.ndarray,
    T: np.ndarray,
    foot: np.ndarray,
    metres: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """See the image lying on the plane, with noise, another gain and gamma. (H, W, 3) uint8"""
    R, t = T[:3, :3].T, -T[:3, :3].T @ T[:3, 3]
    ground = np.vstack([np.column_stack([metres, -metres @ foot]), [0, 0, 1]])
    H = K @ np.column_stack([R[:, 0], R[:, 1], t]) @ ground
    frame = cv2.warpPerspective(image, H, SIZE[::-1], flags=cv2.INTER_CUBIC)
    bent = 255 * rng.uniform(0.7, 1.0) * (frame / 255.0) ** rng.uniform(0.8, 1.3)
    return np.clip(bent + rng.normal(0, 4, frame.shape), 0, 255).astype(np.uint8)


# --- flight -----------------------------------------------------------------------------------


def flight(data: Path, config: OrthoConfig) -> None:
    """Print the error of every third still in the orthophoto of the others."""
    folder = data / "uav_brighton_beach"
    rows = list(csv.reader((folder / "exif_gps.csv").open()))[1:]
    stills = [
        cv2.imread(str(folder / "images" / row[0].replace(".JPG", ".jpg")))[..., ::-1]
        for row in rows
    ]
    degrees = np.array([[float(row[2]), float(row[3])] for row in rows])
    altitude = float(np.median([float(row[5]) for row in rows]))
    zone = 1 + int((degrees[0, 1] + 180) // 6)
    ground = to_utm(degrees, zone, True)
    asked = list(range(1, len(stills), 3))
    known = [i for i in range(len(stills)) if i not in asked]
    places, spread = place_stills([stills[i] for i in known], ground[known])
    image, reference = paint([stills[i] for i in known], places, 32600 + zone)
    scale = float(np.median(np.abs(places[:, 0])))
    size = stills[0].shape[:2]
    focal = altitude / scale
    Kf = np.array([[focal, 0, (size[1] - 1) / 2], [0, focal, (size[0] - 1) / 2], [0, 0, 1]])
    at_home = OrthoLocaliser(
        image, reference, K=Kf, size=size, valid=image.max(axis=2) > 0, config=config
    )
    errors, sigmas, total = [], [], 0
    for i in asked:
        total += 1
        at_home.reset()
        found = at_home.process(np.ascontiguousarray(stills[i]))
        if isinstance(found, OrthoFix):
            place = np.array([found.latitude, found.longitude])
            errors.append(float(np.linalg.norm(metres_between(degrees[i], place))))
            sigmas.append(found.sigma_position)
    print(
        f"orthophoto {image.shape[1]}x{image.shape[0]} from {len(known)} stills, fit to their GPS "
        f"{spread:.2f} m (median); focal length {focal:.0f} px by the scale of the fit; "
        f"{len(errors)} of {total} other stills found, {middle_of(errors, 'error against GPS')}, "
        f"largest {max(errors, default=np.nan):.2f} m, {middle_of(sigmas, 'sigma')}"
    )


def place_stills(stills: list[np.ndarray], gps: np.ndarray) -> tuple[np.ndarray, float]:
    """Place stills on the ground by shared features and GPS: a linear fit of similarities.

    Args:
        stills: pictures straight down.
        gps: east and north of their middles, metres. (N, 2)

    Returns:
        Complex a and b of each, ground = a (u - i v) + b about the middle of the still and the mean
        of gps (added to b); and the median distance of the middles from GPS. (N, 2)
    """
    height, width = stills[0].shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    features = [detect_sift(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), area=250_000) for one in stills]
    mean = gps.mean(axis=0)
    east_north = (gps - mean) @ [1, 1j]
    rows, right = [], []
    # 1. GPS: the middle of each still, to a metre and a half.
    for k in range(len(stills)):
        rows.append(equation(len(stills), {k: 0j}, 1 / 1.5))
        right.append(east_north[k] / 1.5)
    # 2. Shared features: the same ground from both stills, to a quarter of a metre.
    for i in range(len(stills)):
        for j in range(i + 1, len(stills)):
            for p, q in shared(features[i], features[j], middle):
                rows.append(equation(len(stills), {i: p, j: q}, 4.0))
                right.append(0j)
    solution = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    a, b = solution[0::2], solution[1::2]
    return np.column_stack([a, b + mean @ [1, 1j]]), float(np.median(np.abs(b - east_north)))


def equation(stills: int, points: dict[int, complex], weight: float) -> np.ndarray:
    """Write the row of one equation: the first still's point less the second's."""
    row = np.zeros(2 * stills, complex)
    for sign, (k, point) in zip((1, -1), points.items(), strict=False):
        row[2 * k : 2 * k + 2] = sign * weight * point, sign * weight
    return row


def shared(one, other, middle: np.ndarray) -> list[tuple[complex, complex]]:  # noqa: ANN001
    """Return up to 60 points that two stills share, about their middles, v upwards."""
    pairs = match(one, other)
    if len(pairs) < LEAST:
        return []
    p, q = one.pixels[pairs[:, 0]] - middle, other.pixels[pairs[:, 1]] - middle
    cv2.setRNGSeed(0)
    _, chosen = cv2.estimateAffinePartial2D(p, q, ransacReprojThreshold=4.0)
    kept = np.flatnonzero(chosen.ravel())
    if len(kept) < LEAST:
        return []
    kept = kept[:: max(1, len(kept) // 60)][:60]
    return list(zip(p[kept] @ [1, -1j], q[kept] @ [1, -1j], strict=True))


def paint(
    stills: list[np.ndarray], places: np.ndarray, epsg: int
) -> tuple[np.ndarray, Georeference]:
    """Paint an orthophoto: each point from the still whose middle is nearest."""
    height, width = stills[0].shape[:2]
    step = float(np.median(np.abs(places[:, 0])))
    reach = step * np.hypot(height, width) / 2
    low = np.array([places[:, 1].real.min(), places[:, 1].imag.min()]) - reach
    high = np.array([places[:, 1].real.max(), places[:, 1].imag.max()]) + reach
    size = np.ceil((high - low) / step).astype(int)
    affine = np.array([[step, 0, low[0]], [0, -step, high[1]]])
    image = np.zeros((size[1], size[0], 3), np.uint8)
    nearest = np.full(image.shape[:2], np.inf, np.float32)
    u, v = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    ground = (affine[0, 0] * u + affine[0, 2]) + 1j * (affine[1, 1] * v + affine[1, 2])
    for still, (a, b) in zip(stills, places, strict=True):
        point = (ground - b) / a
        x = (point.real + (width - 1) / 2).astype(np.float32)
        y = ((height - 1) / 2 - point.imag).astype(np.float32)
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        far = np.abs(ground - b).astype(np.float32)
        taken = inside & (far < nearest)
        image[taken] = cv2.remap(still, x, y, cv2.INTER_LINEAR)[taken]
        nearest[taken] = far[taken]
    if utm_zone(epsg) is None:
        raise SystemExit(f"EPSG:{epsg} is no UTM zone")
    return image, Georeference(f"EPSG:{epsg}", affine, unprojection(epsg))


def middle_of(values: list[float] | np.ndarray, name: str) -> str:
    """Say the median of values in metres."""
    return f"{name} {np.median(values):.2f} m (median)" if len(values) else f"no {name}"


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("rendered", "seasons", "flight"))
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--views", type=int, default=8, help="views of a place (default: 8)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.what == "flight":
        flight(args.data, OrthoConfig(height=40.0, tilt_sigma=1.0))
    elif args.what == "seasons":
        seasons(args.data, OrthoConfig(height=HEIGHT), args.views)
    else:
        rendered(args.data, OrthoConfig(height=HEIGHT), args.views)


if __name__ == "__main__":
    main()
