"""Signatures, against the example of the specification and against its own library."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

import service
from service.signatures import key_of, signed_headers

README = Path(service.__file__).parents[1] / "README.md"

EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def secret_of(key: bytes) -> str:
    return f"whsec_{base64.b64encode(key).decode()}"


def test_the_example_of_the_specification() -> None:
    headers = signed_headers(
        [key_of(EXAMPLE)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(key=st.binary(min_size=24, max_size=64), text=st.text())
def test_receivers_with_the_secret_verify_what_is_signed(key: bytes, text: str) -> None:
    body = text.encode()
    headers = signed_headers([key], "one", int(time.time()), body)
    Webhook(secret_of(key)).verify(body, headers, json_parse=False)


@given(key=st.binary(min_size=24, max_size=64), other=st.binary(min_size=24, max_size=64))
def test_another_secret_is_noticed(key: bytes, other: bytes) -> None:
    headers = signed_headers([key], "one", int(time.time()), b"{}")
    if key != other:
        with pytest.raises(WebhookVerificationError, match="No matching signature"):
            Webhook(secret_of(other)).verify(b"{}", headers)


@pytest.mark.parametrize("change", ["body", "webhook-id", "webhook-timestamp"])
def test_what_was_changed_on_the_way_is_noticed(change: str) -> None:
    seconds = int(time.time())
    headers = signed_headers([key_of(EXAMPLE)], "one", seconds, b"{}")
    changed = headers | {"webhook-id": "two"} if change == "webhook-id" else headers
    if change == "webhook-timestamp":
        changed = headers | {"webhook-timestamp": str(seconds + 1)}
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(EXAMPLE).verify(b"[]" if change == "body" else b"{}", changed)


def test_both_secrets_sign_while_one_takes_the_place_of_the_other() -> None:
    before, after = secret_of(b"a" * 32), secret_of(b"b" * 32)
    headers = signed_headers([key_of(before), key_of(after)], "one", int(time.time()), b"{}")
    for secret in (before, after):
        assert Webhook(secret).verify(b"{}", headers) == {}


def test_the_lines_of_the_readme_verify() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (lines,) = [block for block in blocks if "webhook-signature" in block]
    found: dict[str, Any] = {}
    exec(lines, found)  # noqa: S102
    verify: Callable[..., None] = found["verify"]
    body = b'{"id": "one"}'
    headers = signed_headers([b"c" * 32, key_of(EXAMPLE)], "one", int(time.time()), body)
    verify(EXAMPLE, headers, body)
    with pytest.raises(ValueError, match="not signed with this secret"):
        verify(secret_of(b"d" * 32), headers, body)
    with pytest.raises(ValueError, match="not signed with this secret"):
        verify(EXAMPLE, headers, body + b" ")
    old = signed_headers([key_of(EXAMPLE)], "one", int(time.time()) - 400, body)
    with pytest.raises(ValueError, match="an old copy"):
        verify(EXAMPLE, old, body)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        EXAMPLE.removeprefix("whsec_"),
        "whsec_c2hvcnQ=",
        "whsec_not base64!",
        secret_of(b"x" * 65),
    ],
)
def test_what_is_no_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 random bytes in base64") as caught:
        key_of(secret)
    assert secret.removeprefix("whsec_") == "" or secret.removeprefix("whsec_") not in str(caught.value)
