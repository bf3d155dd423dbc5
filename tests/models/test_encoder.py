# SPDX-License-Identifier: Apache-2.0
"""Encoders: maps of the promised sizes, torchvision's own numbers, weights strictly and locally."""

import socket
import urllib.request
from pathlib import Path

import pytest
import torch
import torchvision
from close import NETWORK, assert_close_to_largest
from safetensors.torch import save_file
from torch import nn

from depthkit.errors import CheckpointError, ConfigError
from depthkit.models.encoder import ENCODERS, build_encoder


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """torchvision's ResNet-18 with random weights and running means."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return net.eval()


@pytest.fixture(scope="module")
def weights(resnet, tmp_path_factory) -> Path:
    """Its weights in torchvision's format."""
    path = tmp_path_factory.mktemp("hub") / "resnet18.pth"
    torch.save(resnet.state_dict(), path)
    return path


@pytest.fixture
def offline(monkeypatch):
    """No download is even tried."""

    def refuse(*_, **__):
        pytest.fail("an encoder tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)


# --- shapes and numbers --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("frames", [1, 3])
def test_five_maps_each_half_the_last(name, frames):
    """At an odd size every map is the last one halved, rounded up, as wide as promised."""
    encoder = build_encoder(name, frames=frames).eval()
    with torch.no_grad():
        features = encoder(torch.rand(2, 3 * frames, 97, 131))
    sizes = [(49, 66), (25, 33), (13, 17), (7, 9), (4, 5)]
    expected = [(2, c, *size) for c, size in zip(encoder.channels, sizes, strict=True)]
    assert [tuple(f.shape) for f in features] == expected


def test_light_encoder_has_as_many_weights_as_by_hand():
    """Two convolutions a stage without bias, two numbers of batch norm a channel."""
    widths, expected = (3, 24, 32, 64, 128, 192), 0
    for stage in range(5):
        before, after = widths[stage : stage + 2]
        kernel = 25 if stage == 0 else 9
        expected += kernel * before * after + 9 * after * after + 4 * after
    assert sum(p.numel() for p in build_encoder("light").parameters()) == expected


def test_resnet_is_torchvisions_up_to_the_last_stage(resnet, weights):
    """With the same weights each map is torchvision's, on input normalised by 0.45 and 0.225."""
    encoder = build_encoder("resnet18", weights=str(weights)).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        x = resnet.relu(resnet.bn1(resnet.conv1((image - 0.45) / 0.225)))
        expected = [x]
        x = resnet.maxpool(x)
        for stage in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
            x = stage(x)
            expected.append(x)
        for ours, theirs in zip(encoder(image), expected, strict=True):
            assert_close_to_largest(ours, theirs, relative=NETWORK)


def test_image_is_not_edited():
    """In-place activations stay inside."""
    image = torch.rand(1, 3, 64, 64)
    before = image.clone()
    for name in ("resnet18", "light"):
        build_encoder(name)(image)
    assert torch.equal(image, before)


# --- weights -------------------------------------------------------------------------------------


def test_stacked_frames_repeat_the_first_filters(weights):
    """The same frame twice gives what one frame gives; each copy of the filters is half."""
    one = build_encoder("resnet18", weights=str(weights)).eval()
    two = build_encoder("resnet18", frames=2, weights=str(weights)).eval()
    half = one.stem[0].weight / 2
    assert torch.equal(two.stem[0].weight, torch.cat([half, half], 1))
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for a, b in zip(one(image), two(torch.cat([image, image], 1)), strict=True):
            assert_close_to_largest(a, b, relative=NETWORK)


def test_safetensors_are_read_as_well(resnet, weights, tmp_path):
    """The same weights as .safetensors, and without counters as in old files, are the same."""
    state = {k: v for k, v in resnet.state_dict().items() if "num_batches" not in k}
    save_file(state, tmp_path / "w.safetensors")
    ours = build_encoder("resnet18", weights=str(tmp_path / "w.safetensors")).state_dict()
    for key, value in build_encoder("resnet18", weights=str(weights)).state_dict().items():
        assert torch.equal(ours[key], value), key


def test_imagenet_is_torchvisions_cache(weights, tmp_path, monkeypatch, offline):
    """ "imagenet" is the file where torchvision keeps it; nothing else is looked at."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "resnet18-f37072fd.pth").write_bytes(weights.read_bytes())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    encoder = build_encoder("resnet18", weights="imagenet")
    expected = torch.load(weights, weights_only=True)["conv1.weight"]
    assert torch.equal(encoder.stem[0].weight, expected)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_missing_file_is_named_without_a_download(name, tmp_path, monkeypatch, offline):
    """The message says where the file should be, that nothing is downloaded, and what to do."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    wanted = rf"no encoder weights at .*{name}-\w+.pth; depthkit never downloads: .* or set .* null"
    with pytest.raises(CheckpointError, match=wanted):
        build_encoder(name, weights="imagenet")


def one_line(error: pytest.ExceptionInfo) -> str:
    """The message, which must be short and one line."""
    message = str(error.value)
    assert "\n" not in message and len(message) < 500
    return message


def test_weights_of_another_network_are_named_in_one_line(tmp_path):
    """Wrong names, ResNet-18's weights in ResNet-50, a file of a transformer: named, not loaded."""
    files = {
        "vit": {
            "layernorm.weight": torch.ones(2),
            "layer.0.q": torch.ones(2),
            "cls": torch.ones(1),
        },
        "conv": {"conv1.weight": torch.ones(2)},
        "empty": {},
    }
    for name, state in files.items():
        torch.save(state, tmp_path / name)
        for frames in (1, 2):
            with pytest.raises(CheckpointError) as caught:
                build_encoder("resnet18", frames=frames, weights=str(tmp_path / name))
            assert f"{name}: weights of another network: " in one_line(caught)


def test_weights_of_a_smaller_resnet_are_named(weights):
    """ResNet-18's weights do not fit ResNet-50."""
    with pytest.raises(CheckpointError) as caught:
        build_encoder("resnet50", weights=str(weights))
    assert "missing (stages.0.0.conv3.weight" in one_line(caught)


@pytest.mark.parametrize(
    "content", [[torch.ones(2)], torch.ones(2), {"model": {"a": torch.ones(1)}}]
)
def test_file_without_named_tensors_is_named(tmp_path, content):
    """A list, a bare tensor or a nested training state is no weights file."""
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError) as caught:
        build_encoder("resnet18", weights=str(tmp_path / "w.pth"))
    assert "not a weights file" in one_line(caught)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_file_is_named(tmp_path, weights, suffix):
    """A broken download is an error of one line."""
    path = tmp_path / f"w{suffix}"
    path.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError) as caught:
        build_encoder("resnet18", weights=str(path))
    assert "not a weights file" in one_line(caught)


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


def test_pickled_code_is_not_run(tmp_path):
    """A .pth that carries code is refused and the code is not run."""
    torch.save({"conv1.weight": _Bomb(tmp_path / "opened")}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="not a weights file"):
        build_encoder("resnet18", weights=str(tmp_path / "w.pth"))
    assert not (tmp_path / "opened").exists()


def test_unknown_names_and_weights_that_do_not_exist_are_refused():
    """The choices are told; the light encoder has no ImageNet weights."""
    with pytest.raises(
        ConfigError, match="unknown encoder 'vgg'; choose one of resnet18, resnet50"
    ):
        build_encoder("vgg")
    with pytest.raises(ConfigError, match="'light' has no ImageNet weights, got 'imagenet'"):
        build_encoder("light", weights="imagenet")
