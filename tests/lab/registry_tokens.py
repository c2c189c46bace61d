# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a registry sends its clients for tokens: signs what docker-registry checks (JWT, ES256, certificate in x5c)."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509 import load_pem_x509_certificate

SERVICE, ISSUER = "lab-registry", "lab-tokens"
#: docker-registry forgives a clock that is so many seconds wrong.
LEEWAY = 60


class TokenServer:
    """Gives tokens to the accounts it knows. ``expired``: how many of the next tokens have ended before they are given.

    :param accounts: password by user.
    :param folder: for the certificate that the registry trusts.
    """

    def __init__(self, accounts: Mapping[str, str], folder: Path) -> None:
        self.accounts = dict(accounts)
        self.expired = 0
        self.given = 0
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        leaf = authority.issue_cert("lab-tokens", key_type=trustme.KeyType.ECDSA)
        self.bundle = folder / "tokens-ca.pem"
        authority.cert_pem.write_to_path(self.bundle)
        self._key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
        certificate = load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
        self._x5c = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = owner.answer(self.headers.get("Authorization", ""), urlsplit(self.path).query)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_arguments: object) -> None:
                """Silence."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> TokenServer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def auth(self) -> dict[str, Any]:
        """The section ``auth`` of a registry that trusts this server."""
        realm = f"http://127.0.0.1:{self._server.server_address[1]}/token"
        trust = {"service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self.bundle)}
        return {"token": {"realm": realm, **trust}}

    def answer(self, authorization: str, query: str) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        kind, _space, secret = authorization.partition(" ")
        user, _colon, password = base64.b64decode(secret).decode().partition(":") if kind == "Basic" else ("", "", "")
        if not user or self.accounts.get(user) != password:
            return 401, {"details": "who are you?"}
        self.given += 1
        left = 300
        if self.expired:
            self.expired, left = self.expired - 1, -2 * LEEWAY
        return 200, {"token": self.token(user, *parse_qs(query).get("scope", []), left=left)}

    def token(self, user: str, *scopes: str, left: int = 300) -> str:
        """A token for scopes such as ``repository:models/m:pull,push`` that ends in *left* seconds."""
        access = []
        for scope in scopes:
            what, name, actions = scope.split(":")
            access.append({"type": what, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": SERVICE, "sub": user, "jti": str(self.given), "access": access,
            "iat": now - 600, "nbf": now - 600, "exp": now + left,
        }  # fmt: skip
        text = f"{_pack({'typ': 'JWT', 'alg': 'ES256', 'x5c': [self._x5c]})}.{_pack(claims)}"
        assert isinstance(self._key, ec.EllipticCurvePrivateKey)
        first, second = utils.decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_base64(first.to_bytes(32, 'big') + second.to_bytes(32, 'big'))}"


def _pack(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
