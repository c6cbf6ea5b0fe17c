"""An identity provider on this machine: publishes its keys, and signs what a test wants signed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

AUDIENCE = "rainpost"


class Provider:
    """Its address, its keys by their ids, and how often it was asked for them."""

    def __init__(self) -> None:
        self.issuer = ""
        self.says_issuer: str | None = None
        self.asked = 0
        self.is_down = False
        self._keys = {"one": ec.generate_private_key(ec.SECP256R1())}

    def change_key(self, key_id: str) -> None:
        """Sign with a new key from now on; the old one is published no more."""
        self._keys = {key_id: ec.generate_private_key(ec.SECP256R1())}

    def token(
        self, scope: Any = "rainpost:submit", *, key: Any = None, algorithm: str = "ES256", **claims: Any
    ) -> str:
        """A token; a claim that is None is left out."""
        ((key_id, own),) = self._keys.items()
        now = int(time.time())
        all_claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "feeder",
            "iat": now,
            "exp": now + 300,
            "scope": scope,
        } | claims
        said = {name: value for name, value in all_claims.items() if value is not None}
        return jwt.encode(said, own if key is None else key, algorithm, {"kid": key_id})

    def document(self, path: str) -> dict[str, Any] | None:
        """What it publishes there."""
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.says_issuer or self.issuer, "jwks_uri": f"{self.issuer}/jwks"}
        if path == "/jwks":
            self.asked += 1
            public = jwt.algorithms.ECAlgorithm.to_jwk
            return {
                "keys": [
                    public(key.public_key(), as_dict=True) | {"kid": name} for name, key in self._keys.items()
                ]
            }
        return None


@contextmanager
def provider() -> Iterator[Provider]:
    """One that answers."""
    one = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = None if one.is_down else one.document(self.path)
            body = json.dumps(document).encode()
            self.send_response(503 if document is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="provider")
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
