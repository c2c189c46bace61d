# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be pulled: references, media types, and names that stay below the folder (B1)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError, RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._oci import _manifest
from ansible_collections.onprem.autoscale.plugins.module_utils._oci._manifest import Layer, Reference, read_manifest

HEX = "a" * 64
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "registry", "repository"),
    [
        (f"harbor.example.com/models/llama@{DIGEST}", "harbor.example.com", "models/llama"),
        (f"10.0.0.5:5000/a/b/c_d.e-f@{DIGEST}", "10.0.0.5:5000", "a/b/c_d.e-f"),
        (f"[fd00::1]:5000/m@{DIGEST}", "[fd00::1]:5000", "m"),
        (f"harbor.example.com/models/llama:v1@{DIGEST}", "harbor.example.com", "models/llama"),
    ],
)
def test_a_reference_has_three_parts_and_a_tag_does_not_count(text: str, registry: str, repository: str) -> None:
    assert Reference.parse(text) == Reference(registry, repository, DIGEST)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("harbor.example.com/models/llama:latest", "has no digest"),
        ("harbor.example.com/models/llama", "has no digest"),
        (f"harbor.example.com/models/llama@sha256:{HEX[:-1]}", "is no digest"),
        (f"harbor.example.com/models/llama@sha512:{HEX}", "is no digest"),
        (f"https://harbor.example.com/m@{DIGEST}", "is not registry/repository"),
        (f"harbor.example.com/Models/Llama@{DIGEST}", "is not registry/repository"),
        (f"harbor.example.com/../x@{DIGEST}", "is not registry/repository"),
        (f"u:p@harbor.example.com/m@{DIGEST}", "is no digest"),
        (f"llama@{DIGEST}", "is not registry/repository"),
    ],
)
def test_anything_but_a_pinned_reference_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        Reference.parse(text)


def manifest(*layers: dict[str, Any], **rest: Any) -> tuple[bytes, Reference]:
    body = json.dumps({"schemaVersion": 2, "layers": list(layers), **rest}).encode()
    return body, Reference("r", "m", f"sha256:{hashlib.sha256(body).hexdigest()}")


def row(media: str, name: str | None = "w.bin", key: str = _manifest.NAME_KEYS[0], **more: Any) -> dict[str, Any]:
    notes = {} if name is None else {key: name}
    return {"mediaType": media, "digest": DIGEST, "size": 3, "annotations": {**notes, **more}}


@pytest.mark.parametrize(
    ("media", "key", "packing"),
    [
        ("application/vnd.cncf.model.weight.v1.raw", "org.cncf.model.filepath", "raw"),
        ("application/vnd.cncf.model.weight.v1.tar", "org.cncf.model.filepath", "tar"),
        ("application/vnd.cncf.model.weight.config.v1.tar+gzip", "org.cncf.model.filepath", "tar+gzip"),
        ("application/vnd.cncf.model.weight.v1.tar+zstd", "org.cncf.model.filepath", "tar+zstd"),
        ("application/vnd.cncf.model.weight.v1.safetensors", "org.cncf.model.filepath", "raw"),
        ("application/vnd.cnai.model.weight.v1.raw", "org.cnai.model.filepath", "raw"),
        ("application/vnd.cnai.model.weight.v1.tar", "org.cnai.model.filepath", "tar"),
        ("application/vnd.oci.image.layer.v1.tar", "org.opencontainers.image.title", "raw"),
        ("application/octet-stream", "org.opencontainers.image.title", "raw"),
        ("application/vnd.docker.ai.safetensors", "org.cncf.model.filepath", "raw"),
        ("application/vnd.docker.ai.vllm.config.tar", "org.cncf.model.filepath", "tar"),
    ],
)
def test_media_types_say_how_a_layer_is_packed(media: str, key: str, packing: str) -> None:
    (layer,) = read_manifest(*manifest(row(media, key=key)))
    assert (layer.packing, layer.size, layer.digest) == (packing, 3, DIGEST)
    assert layer.name == "w.bin"


@pytest.mark.parametrize(
    ("media", "title", "notes", "layer"),
    [
        ("tar+gzip", "dir", {_manifest.UNPACK_KEY: "true"}, Layer(DIGEST, 3, "tar+gzip", "dir")),
        ("tar", "dir", {_manifest.UNPACK_KEY: "true"}, Layer(DIGEST, 3, "tar+gzip", "dir")),
        ("tar+gzip", "dir", {}, Layer(DIGEST, 3, "tar+gzip", "dir")),
        ("tar+gzip", "all.tar.gz", {}, Layer(DIGEST, 3, "raw", "all.tar.gz")),
        ("tar+gzip", "all.tgz", {}, Layer(DIGEST, 3, "raw", "all.tgz")),
    ],
)
def test_a_folder_that_oras_packed_is_told_from_an_archive_that_is_a_file(
    media: str, title: str, notes: dict[str, str], layer: Layer
) -> None:
    """oras writes an annotation; oras-py only the media type, which a person may give to an archive as well."""
    row_ = row(f"application/vnd.oci.image.layer.v1.{media}", title, "org.opencontainers.image.title", **notes)
    assert read_manifest(*manifest(row_)) == [layer]


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "..",
        ".",
        "",
        "a\\b",
        "a\nb",
        ".complete",
        ".partial/x",
        "./.complete",
        "a" * 256,
    ],
)
def test_names_that_leave_the_folder_or_are_ours_are_refused(name: str) -> None:
    with pytest.raises(RefusedError, match=DIGEST):
        read_manifest(*manifest(row("application/vnd.cncf.model.weight.v1.raw", name)))


@pytest.mark.parametrize(("name", "clean"), [("./a/b", "a/b"), ("a//b", "a/b"), ("a/.hidden", "a/.hidden")])
def test_names_are_made_plain(name: str, clean: str) -> None:
    (layer,) = read_manifest(*manifest(row("application/vnd.cncf.model.weight.v1.raw", name)))
    assert layer.name == clean


def test_every_reason_is_told_at_once() -> None:
    with pytest.raises(RefusedError) as caught:
        read_manifest(
            *manifest(
                row("application/vnd.oci.image.layer.v1.tar+gzip", None),
                row("application/vnd.cncf.model.weight.v1.raw+zstd"),
                row("application/vnd.cncf.model.weight.v1.raw", "../x"),
                {**row("application/vnd.cncf.model.weight.v1.raw"), "size": -1},
                {**row("application/vnd.cncf.model.weight.v1.raw"), "digest": "md5:1"},
            )
        )
    for words in ("no file of a model", "nobody here unpacks", "'../x'", "-1 bytes", "'md5:1'"):
        assert words in str(caught.value)


def test_two_layers_with_one_name_are_refused() -> None:
    other = {**row("application/vnd.cncf.model.weight.v1.raw", "./w.bin"), "digest": f"sha256:{'b' * 64}"}
    with pytest.raises(RefusedError, match=r"both are w\.bin"):
        read_manifest(*manifest(row("application/vnd.cncf.model.weight.v1.raw"), other))


def test_another_content_than_the_digest_says_is_refused() -> None:
    body, reference = manifest(row("application/vnd.cncf.model.weight.v1.raw"))
    with pytest.raises(RefusedError, match="answered with other content"):
        read_manifest(body + b" ", reference)


def test_an_index_names_what_to_pin() -> None:
    body = json.dumps({"schemaVersion": 2, "manifests": [{"digest": DIGEST}]}).encode()
    with pytest.raises(RefusedError, match=f"index of several artifacts. Pin one of them: {DIGEST}"):
        read_manifest(body, Reference("r", "m", f"sha256:{hashlib.sha256(body).hexdigest()}"))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"layers": [{}]}', b'{"layers": []}', b"null"])
def test_what_is_no_manifest_is_told_so(body: bytes) -> None:
    with pytest.raises(RefusedError, match=r"no manifest|no layers"):
        read_manifest(body, Reference("r", "m", f"sha256:{hashlib.sha256(body).hexdigest()}"))
