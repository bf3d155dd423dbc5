# SPDX-License-Identifier: Apache-2.0
"""Model files: whatever has changed is refused before a runtime sees it, with the numbers."""

import json
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_makers import write_mono

from depthkit.errors import EngineError
from depthkit.runtime.network.manifest import (
    MANIFEST_VERSION,
    Manifest,
    find_model,
    manifest_from_json,
    read_manifest,
    read_model,
    sidecar_path,
    write_model,
)
from depthkit.runtime.network.model_file import ZEROS, join, split


@pytest.fixture
def path(tmp_path):
    """A whole file, with its JSON."""
    return write_mono(tmp_path / "mono.onnx")


def test_what_is_written_is_read(path):
    """The record comes back equal, and JSON and file say the same hash."""
    manifest = read_manifest(path)
    assert isinstance(manifest, Manifest) and manifest.kind == "mono"
    assert manifest.size == (32, 48) and manifest.version == MANIFEST_VERSION
    beside = json.loads(sidecar_path(path).read_text())
    assert beside["sha256"] == manifest.sha256 and len(manifest.sha256) == 64
    assert manifest_from_json(beside, path) == manifest
    assert {one.name for one in path.parent.iterdir()} == {"mono.onnx", "mono.json"}


def test_the_file_is_onnx_and_enough(path):
    """To every program it is an ONNX file, the manifest its metadata; the JSON is not needed."""
    sidecar_path(path).unlink()
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert [entry.key for entry in model.metadata_props] == ["depthkit"]
    assert json.loads(model.metadata_props[0].value)["sha256"] == read_manifest(path).sha256


def test_one_flipped_bit_anywhere_is_refused(path):
    """Head, manifest, digest, weights, last byte: never read, mostly with both hashes."""
    data = path.read_bytes()
    digest = data.index(b'"sha256": "') + len('"sha256": "')
    rng = np.random.default_rng(0)
    positions = {*range(40), digest, digest + 63, len(data) - 1}
    for position in positions | {int(i) for i in rng.integers(0, len(data), 300)}:
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(EngineError) as caught:
            split(bytes(damaged), "x.onnx")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["digest", "record", "graph"])
def test_a_changed_byte_names_both_hashes(path, place):
    """The line holds the hash that should be and the one that is."""
    data = bytearray(path.read_bytes())
    said = read_manifest(path).sha256
    digest = data.index(b'"sha256": "') + len('"sha256": "')
    position = {"digest": digest, "record": data.index(b"RGB"), "graph": len(data) - 1}[place]
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(EngineError, match="changed since its export") as caught:
        read_manifest(path)
    hashes = re.findall(r"\b[0-9a-f]{64}\b", str(caught.value))
    assert len(set(hashes)) == 2 and said in hashes


def test_a_truncated_file_is_refused(path):
    """Cut inside the graph: both hashes; inside the manifest: both lengths; empty: no ONNX file."""
    data = path.read_bytes()
    for length, words in ((len(data) - 5, "sha256 should be"), (100, "cut off"), (0, "nothing")):
        path.write_bytes(data[:length])
        with pytest.raises(EngineError, match=words):
            read_manifest(path)


def test_another_version_is_refused(path):
    """A newer file is not read by guesswork; both versions are named."""
    data = path.read_bytes().replace(b'{"version": 1', b'{"version": 7', 1)
    path.write_bytes(data)
    with pytest.raises(EngineError, match=r"manifest version 7, this depthkit reads 1"):
        read_manifest(path)


def test_other_files_are_refused(tmp_path):
    """A text, another program's ONNX file and another's metadata are told apart."""
    node = helper.make_node("Identity", ["a"], ["b"])
    ends = [helper.make_tensor_value_info(name, 1, [1]) for name in ("a", "b")]
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]))
    onnx.save(model, tmp_path / "theirs.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    meta = onnx.ModelProto()
    helper.set_model_props(meta, {"author": "them"})
    (tmp_path / "meta.onnx").write_bytes(meta.SerializeToString())
    for name, words in (("theirs", "another program"), ("text", "no ONNX"), ("meta", "another's")):
        with pytest.raises(EngineError, match=words):
            read_manifest(tmp_path / f"{name}.onnx")


def test_weights_in_another_file_are_refused(path):
    """What lies outside the hash is not accepted, even if the hash holds."""
    file = read_model(path)
    model = onnx.ModelProto.FromString(file.model)
    tensor = model.graph.initializer.add(name="w", data_type=1, dims=[4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    write_model(path, file.manifest, model.SerializeToString())
    with pytest.raises(EngineError, match=r"another file \(weights.bin\)"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sha256", "0" * 64, "sha256 is"),
        ("scale", "metric", '"metric", in the file "relative"'),
        ("extra", 1, "extra is 1, in the file null"),
    ],
)
def test_a_json_that_disagrees_is_refused(path, key, value, words):
    """What people read beside the file must be what is inside."""
    beside = sidecar_path(path)
    beside.write_text(json.dumps(json.loads(beside.read_text()) | {key: value}))
    with pytest.raises(EngineError, match=words):
        read_manifest(path)
    beside.write_text("{")
    with pytest.raises(EngineError, match="cannot be read"):
        read_manifest(path)


def test_unknown_and_missing_keys_are_refused(path):
    """A record of other fields, though its hash holds, is not guessed at."""
    record, model = split(path.read_bytes(), "x")
    sidecar_path(path).unlink()
    for changed in (record | {"new": 1}, {k: v for k, v in record.items() if k != "kind"}):
        path.write_bytes(join(changed, model)[0])
        with pytest.raises(EngineError, match="missing or unknown: (new|kind)"):
            read_manifest(path)


def test_the_hash_is_over_the_bytes_with_zeros(path):
    """Anyone can compute it: put zeros for the digits, sha256 of the file."""
    import hashlib

    data, said = path.read_bytes(), read_manifest(path).sha256
    assert hashlib.sha256(data.replace(said.encode(), ZEROS.encode(), 1)).hexdigest() == said
    assert data.count(said.encode()) == 1


def test_writing_replaces_both_or_none(path, tmp_path):
    """A second write replaces file and JSON; a folder that is a file is one line."""
    file = read_model(path)
    write_model(path, replace(file.manifest, scale="metric"), file.model)
    assert read_manifest(path).scale == "metric"
    with pytest.raises(EngineError, match="cannot be written"):
        write_model(path / "below.onnx", file.manifest, file.model)


def test_find_model_names_what_there_is(path, tmp_path):
    """A file is itself; what is not there is one line."""
    assert find_model(path) == path
    with pytest.raises(EngineError, match="no such model file"):
        find_model(tmp_path / "none.onnx")
    with pytest.raises(EngineError, match="no such model file"):
        find_model("no-such-name")
    with pytest.raises(EngineError, match="no such model file"):
        find_model(tmp_path / f"{'n' * 5000}.onnx")


@pytest.mark.parametrize("name", ["sweepnet-stilbox", "shading_colon", "depthnet-stillbox.onx"])
def test_a_slip_in_a_shipped_name_is_seen(name):
    """One letter off: what was meant, and no list."""
    meant = {"sw": "sweepnet-stillbox", "sh": "shading-colon", "de": "depthnet-stillbox"}[name[:2]]
    with pytest.raises(EngineError, match=rf"{name}: no such model file; did you mean {meant}\?$"):
        find_model(name)


def test_files_of_before_load_without_the_new_fields(path):
    """A record without quantity, ambiguity and the like is read; relative lacks a factor."""
    record, model = split(path.read_bytes(), "x")
    sidecar_path(path).unlink()
    new = ("quantity", "ambiguity", "focal_rule", "validity", "resize", "licence", "adopted_from")
    old = {key: value for key, value in record.items() if key not in new}
    assert len(old) == len(record) - len(new)
    path.write_bytes(join(old, model)[0])
    manifest = read_manifest(path)
    assert (manifest.quantity, manifest.unresolved, manifest.focal_rule) == (
        "depth",
        "scale",
        "none",
    )
    assert manifest.resize.rule == "stretch" and manifest.adopted_from is None


def test_metres_with_an_unknown_scale_are_refused(path):
    """A record that says both contradicts itself."""
    file = read_model(path)
    write_model(path, replace(file.manifest, scale="metric", ambiguity="scale"), file.model)
    with pytest.raises(EngineError, match="says metres, and that scale of its depth is unknown"):
        read_manifest(path)
