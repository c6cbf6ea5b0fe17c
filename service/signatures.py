"""Signatures of what is sent to receivers, as Standard Webhooks has them.

https://github.com/standard-webhooks/standard-webhooks, version 1.0.0: HMAC-SHA256 over the identity of the
message, the time of this attempt and the body, so that a receiver knows who sent it and that it is no copy.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
_BYTES: Final = range(24, 65)


def key_of(secret: str) -> bytes:
    """The key in a secret. Raises ``ValueError``, which does not show the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in _BYTES:
        raise ValueError(f"a secret is {PREFIX} and {_BYTES[0]} to {_BYTES[-1]} random bytes in base64")
    return key


def signed_headers(keys: Sequence[bytes], message_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """Headers of one attempt, with a signature by each key. seconds: its time, since 1970.

    message_id: the same in every attempt, without a dot.
    """
    content = f"{message_id}.{seconds}.".encode() + body
    digests = [hmac.new(key, content, hashlib.sha256).digest() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }
