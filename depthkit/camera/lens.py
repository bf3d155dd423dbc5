# SPDX-License-Identifier: Apache-2.0
"""Lens models: how many coefficients each takes, and what other programs call it.

Two models bend lines here, both as OpenCV defines them: Brown-Conrady (k1 k2 p1 p2 [k3 [k4 k5 k6
[s1..s4 [tx ty]]]]) and Kannala-Brandt (PAMI 2006, k1..k4 of theta). Any other model is refused by
its name: its numbers mean something else.
"""

import re

from depthkit.errors import DataError

COEFFICIENTS = {"none": (0,), "brown_conrady": (4, 5, 8, 12, 14), "kannala_brandt": (4,)}

# Words in lower case with _ between their parts; see `_plain`.
_WORDS = {
    "none": "|none|null|no_distortion|undistorted|rectified|pinhole|simple_pinhole|perspective",
    "brown_conrady": "brown_conrady|brown|plumb_bob|rational_polynomial|rational|thin_prism|radtan"
    "|radial_tangential|radialtangential|pinhole_radtan|pinhole_radtan8|pinhole_full|polynomial"
    "|opencv|full_opencv|simple_radial|radial|brown_conrady5|radtan4|radtan5|radtan8",
    "kannala_brandt": "kannala_brandt|kannala_brandt4|kannala_brandt8|kannalabrandt|kannalabrandt4"
    "|kannalabrandt8|kb|kb4|kb8|equidistant|equidist|equi|pinhole_equi|pinhole_equidistant|fisheye"
    "|opencv_fisheye|fisheye_opencv|radial_fisheye|simple_radial_fisheye",
}
MODEL_NAMES = {word: name for name, words in _WORDS.items() for word in words.split("|")}

_REFUSED = {
    "FOV (atan)": "fov|atan|arctan|fov_atan|pinhole_fov|devernay",
    "unified omnidirectional (Mei)": "omni|omnidir|omnidirectional|mei|ucm|unified|catadioptric"
    "|omni_radtan|omni_none|cv_omnidir|xi",
    "double sphere": "ds|double_sphere|doublesphere|ds_none",
    "extended unified (EUCM)": "eucm|extended_unified|eucm_none",
    "division": "division|simple_division|radial_division|inverse_division",
    "Scaramuzza (OCamCalib)": "scaramuzza|ocam|ocamcalib|ocam_calib",
    "thin-prism fisheye": "thin_prism_fisheye|rad_tan_thin_prism_fisheye|fisheye624|fisheye62",
    "f-theta polynomial": "ftheta|f_theta",
    "inverse Brown-Conrady": "inverse_brown_conrady",
    "modified Brown-Conrady": "modified_brown_conrady",
    "panorama": "equirectangular|spherical|panorama|panoramic|cylindrical|cubemap",
    "orthographic": "orthographic|orthophoto",
    "other fisheye": "equisolid|stereographic|fisheye_equisolid|fisheye_equidistant_polynomial",
}
_REFUSED_NAMES = {word: name for name, words in _REFUSED.items() for word in words.split("|")}

# Their coefficients are an addition to a pinhole: without any, it is one.
_PINHOLE_WITHOUT_COEFFICIENTS = ("FOV (atan)", "division", "inverse Brown-Conrady") + (
    "modified Brown-Conrady",
)


def lens_model(word: str, D: tuple[float, ...]) -> tuple[str, tuple[float, ...]]:
    """Return our name of a lens model and its coefficients.

    Args:
        word: any program's name of the model, such as 'plumb_bob' or 'KannalaBrandt8'.
        D: its coefficients; zeros beyond those the model takes mean nothing.

    Returns:
        A key of `COEFFICIENTS` and its coefficients; 'none' where nothing bends (a fisheye does,
        even with zeros).

    Raises:
        DataError: a model that is unknown or cannot be undistorted, or a wrong count.
    """
    name, plain = _known(word, D), _plain(word)
    counts = (4, 5) if plain == "plumb_bob" else COEFFICIENTS[name]
    D = _trimmed(D, counts)
    if name != "kannala_brandt" and not any(D):
        return "none", ()
    if plain == "plumb_bob" and len(D) not in counts:
        raise DataError(f"camera: plumb_bob takes 5 distortion coefficients, got {len(D)}")
    return name, D


def choose_lens(
    camera_word: str, distortion_word: str, D: tuple[float, ...]
) -> tuple[str, tuple[float, ...], tuple[str, ...]]:
    """Decide between a file's word for the camera and its word for the distortion.

    Args:
        camera_word: of keys such as `camera_model`; may name a product; empty where absent.
        distortion_word: of keys such as `distortion_model`; empty where absent.
        D: coefficients as written.

    Returns:
        Name and coefficients as `lens_model` returns them, and what had to be assumed.
    """
    camera = MODEL_NAMES.get(_plain(camera_word)) if camera_word else None
    if _plain(camera_word) in _REFUSED_NAMES:
        _known(camera_word, D)
    distortion = _known(distortion_word, D) if distortion_word else None
    bending = [name for name in (distortion, camera) if name not in (None, "none")]
    if len(set(bending)) == 2:
        raise DataError(
            f"camera: camera model {camera_word!r} and distortion model {distortion_word!r} "
            "contradict each other; keep the one that was calibrated"
        )
    if distortion in (None, "none") and camera in ("brown_conrady", "kannala_brandt"):
        return *lens_model(camera_word, D), ()
    if distortion is not None or not any(D):
        return *lens_model(distortion_word, D), ()
    said = f"camera model {camera_word!r}" if camera_word else "no distortion model in the file"
    return (
        *lens_model("brown_conrady", D),
        (
            f"{said}: its {len(D)} distortion coefficients taken as k1 k2 p1 p2 ... of "
            "Brown-Conrady (OpenCV); write distortion_model: equidistant for a fisheye",
        ),
    )


def _known(word: str, D: tuple[float, ...]) -> str:
    """Return our name of a model; one that cannot be undistorted is refused by name."""
    plain = _plain(word)
    name = MODEL_NAMES.get(plain)
    if name is not None:
        return name
    refused = _REFUSED_NAMES.get(plain)
    if refused in _PINHOLE_WITHOUT_COEFFICIENTS and not any(D):
        return "none"
    if refused is not None:
        raise DataError(
            f"camera: cannot undistort the {refused} lens model (written {word!r}); calibrate "
            "again as pinhole with radial-tangential or equidistant distortion"
        )
    raise DataError(
        f"camera: unknown distortion model {word!r}; expected one of pinhole, plumb_bob, radtan, "
        "rational_polynomial, brown_conrady, equidistant, fisheye, kannala_brandt"
    )


def _plain(word: str) -> str:
    """Return a word in lower case, with _ for what is no letter or digit."""
    return (
        re.sub(r"[^a-z0-9]+", "_", word.strip().lower()).strip("_").removeprefix("distortion_")
    )  # of RealSense


def _trimmed(D: tuple[float, ...], counts: tuple[int, ...]) -> tuple[float, ...]:
    """Leave out zeros at the end until the model takes that many."""
    while len(D) > min(counts) and len(D) not in counts and D[-1] == 0:
        D = D[:-1]
    return D
