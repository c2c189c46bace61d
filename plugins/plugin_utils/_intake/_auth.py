# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Who is calling: a Bearer token, compared in constant time, or a client certificate that the configured CA signed.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import ssl
import typing as t

from ._config import Caller, Config, ConfigError, Tls, Token, read_token

LOG = logging.getLogger(__name__)


class Doorkeeper:
    """Answers :meth:`who` for each request; token files are read again when they change."""

    def __init__(self, config: Config) -> None:
        self._tls = config.tls
        self._tokens = config.tokens
        self._digests: dict[str, bytes] = {}
        self._stamps: dict[str, tuple[int, int, int]] = {}

    def who(self, authorization: str, peer: t.Mapping[str, t.Any] | None) -> Caller | None:
        """The caller with this ``Authorization`` header and verified client certificate, or ``None``."""
        scheme, _sep, word = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(word.strip())
        return _by_certificate(self._tls, peer) if self._tls and self._tls.client_ca and peer else None

    def _by_token(self, word: str) -> Caller | None:
        # Digests have one length, and every token is compared: the time says nothing about which one came close.
        given = hashlib.sha256(word.encode("utf-8", "surrogateescape")).digest()
        found = None
        for token in self._tokens:
            if hmac.compare_digest(given, self._digest(token)) and found is None:
                found = token.caller
        return found

    def _digest(self, token: Token) -> bytes:
        name = token.caller.name
        try:
            stat = os.stat(token.file)
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_mode)
            if self._stamps.get(name) != stamp:
                self._digests[name] = hashlib.sha256(read_token(token.file).encode()).digest()
                self._stamps[name] = stamp
        except (OSError, ConfigError) as error:
            if name in self._digests:
                LOG.warning("token %s stays as it was: %s", name, error)
            else:
                LOG.error("token %s cannot be used: %s", name, error)
        # An unusable token equals nothing, and takes as long.
        return self._digests.get(name, b"\0" * 32)


def _by_certificate(tls: Tls, peer: t.Mapping[str, t.Any]) -> Caller | None:
    names = [value for part in peer.get("subject", ()) for key, value in part if key == "commonName"]
    names += [value for kind, value in peer.get("subjectAltName", ()) if kind in ("DNS", "URI", "email", "IP Address")]
    if tls.clients is None:
        return Caller(names[0] if names else "certificate")
    return next((caller for caller in tls.clients if caller.name in names), None)


def server_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or later. A client certificate is asked for, not demanded: ``/healthz`` and token holders have none.

    :raises ConfigError: the files do not fit together.
    """
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(tls.cert, tls.key)
        if tls.client_ca:
            context.load_verify_locations(cafile=tls.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tls: {tls.cert} and {tls.key} cannot be used: {error}") from error
    return context
