# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What is pulled: a reference by digest, the manifest behind it, and for each layer the file names that it may write.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing as t

from .._common._errors import InvalidSpecError, RefusedError

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
#: ModelPack, its older name, and Docker's: the end of the media type says how the layer is packed.
MODEL_TYPES = ("application/vnd.cncf.model.", "application/vnd.cnai.model.", "application/vnd.docker.ai.")
NAME_KEYS = ("org.cncf.model.filepath", "org.cnai.model.filepath", "org.opencontainers.image.title")
#: What oras says of a folder that it packed; oras-py says it by the media type alone.
UNPACK_KEY = "io.deis.oras.content.unpack"
FOLDER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
RESERVED = (".complete", ".partial")

RAW, TAR, TAR_GZIP, TAR_ZSTD = "raw", "tar", "tar+gzip", "tar+zstd"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")


@dataclasses.dataclass(frozen=True)
class Reference:
    """``registry/repository@sha256:...``."""

    registry: str
    repository: str
    digest: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}@{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference. :raises InvalidSpecError: it is none, or has no digest."""
        name, _at, digest = text.strip().partition("@")
        registry, _slash, repository = name.partition("/")
        head, _slash, last = repository.rpartition("/")
        last = last.partition(":")[0]  # a tag beside the digest is for people
        repository = f"{head}/{last}" if head else last
        if not digest:
            raise InvalidSpecError(
                f"reference {text!r} has no digest",
                remedy="Pin what is pulled, as in registry.example.com/models/llama@sha256:...; a tag may move.",
            )
        if not _DIGEST.fullmatch(digest):
            raise InvalidSpecError(
                f"reference {text!r}: {digest!r} is no digest", remedy="Give sha256: and 64 hexadecimal digits."
            )
        if not _REGISTRY.fullmatch(registry) or not _REPOSITORY.fullmatch(repository):
            raise InvalidSpecError(
                f"reference {text!r} is not registry/repository@sha256:...",
                remedy="The registry is host or host:port without a scheme, the repository is in lower case.",
            )
        return cls(registry, repository, digest)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One blob: ``name`` is the file that a raw one becomes; an archive brings its own names."""

    digest: str
    size: int
    packing: str
    name: str


def check_digest(body: bytes, digest: str, what: str) -> None:
    """:raises RefusedError: *body* is not what *digest* says."""
    found = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if found != digest:
        raise RefusedError(
            f"{what} was answered with other content: its digest is {found}",
            remedy="A proxy or a damaged store of the registry changed it; nothing was installed.",
        )


def read_manifest(body: bytes, reference: Reference) -> list[Layer]:
    """The layers of a manifest. :raises RefusedError: it is none that can be pulled, with every reason."""
    check_digest(body, reference.digest, f"The manifest {reference}")
    try:
        manifest = json.loads(body)
        media = manifest.get("mediaType", "")
        if media in INDEX_TYPES or "manifests" in manifest:
            choice = ", ".join(str(row.get("digest")) for row in manifest["manifests"])
            raise RefusedError(f"{reference} is an index of several artifacts", remedy=f"Pin one of them: {choice}.")
        rows = [(row, row["mediaType"], row["digest"], row["size"]) for row in manifest["layers"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError(f"{reference} is no manifest of an artifact: {type(error).__name__} {error}") from error
    layers, problems = [], []
    for row, media, digest, size in rows:
        try:
            layers.append(_layer(row, str(media), str(digest), size))
        except RefusedError as error:
            problems.append(error.message)
    problems += _twice(layers)
    if not layers and not problems:
        problems.append("it has no layers")
    if problems:
        raise RefusedError(
            f"{reference} cannot be pulled: {'; '.join(problems)}",
            remedy="Push it again with a tool that writes ModelPack, oras titles or Docker's model layers.",
        )
    return layers


def _layer(row: t.Mapping[str, t.Any], media: str, digest: str, size: t.Any) -> Layer:
    if not _DIGEST.fullmatch(digest) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise RefusedError(f"layer {digest!r} of {size!r} bytes has no usable digest or size")
    notes = row.get("annotations") or {}
    name = next((str(notes[key]) for key in NAME_KEYS if notes.get(key)), "")
    if media.startswith(MODEL_TYPES):
        packing = next((end for end in (TAR_GZIP, TAR_ZSTD, TAR) if media.endswith(f".{end}")), RAW)
        if packing == RAW and media.endswith(("+gzip", "+zstd")):
            raise RefusedError(f"layer {digest} is packed as {media}, which nobody here unpacks")
    elif str(notes.get(UNPACK_KEY, "")).lower() == "true" or (
        media == FOLDER_TYPE and name and not name.endswith((".gz", ".tgz"))
    ):
        packing = TAR_GZIP
    elif name:
        packing = RAW  # oras gives files the media type of an image's layer unless told otherwise
    else:
        raise RefusedError(f"layer {digest} has the media type {media} and no title, which is no file of a model")
    if packing == RAW:
        name = safe_name(name, f"layer {digest}")
    return Layer(digest, size, packing, name)


def safe_name(name: str, where: str) -> str:
    """A relative name that stays below the folder. :raises RefusedError: it does not."""
    if not name:
        raise RefusedError(f"{where} has no file name")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = name.startswith("/") or "\\" in name or any(ord(letter) < 32 for letter in name)
    if bad or not parts or ".." in parts or parts[0] in RESERVED or any(len(part.encode()) > 255 for part in parts):
        raise RefusedError(f"{where} wants to write {name!r}, which is no name below the folder of the artifact")
    return "/".join(parts)


def _twice(layers: t.Sequence[Layer]) -> list[str]:
    owner: dict[str, str] = {}
    return [
        f"layers {owner[layer.name]} and {layer.digest} both are {layer.name}"
        for layer in layers
        if layer.packing == RAW and owner.setdefault(layer.name, layer.digest) != layer.digest
    ]
