"""Signatures of webhooks, as the Standard Webhooks specification describes them.

What is signed is `<webhook-id>.<webhook-timestamp>.<body>`, with HMAC-SHA256; `webhook-signature` holds one `v1,` and
base64 for each secret, so that a secret can be changed without a gap. Any library for that specification verifies it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING, Final

from costscope.errors import CostscopeError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

TOLERANCE_S: Final = 300.0
"""How far a request's time may be from the receiver's clock."""

_PREFIX: Final = "whsec_"
_KEY_MIN: Final = 24
_VERSION: Final = "v1,"
_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
_TIMESTAMP_DIGITS: Final = 12


class WrongSignature(CostscopeError):
    """A request that was not signed with this secret, or too long ago: do not believe it, answer 401."""


def new_secret() -> str:
    """Make a secret to sign with: `whsec_` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def check_secret(secret: str) -> None:
    """Refuse what cannot be a secret.

    Args:
        secret: `whsec_` and base64, or any other text, whose UTF-8 bytes are the key; at least 24 bytes. Several are
            separated by white space: requests are then signed with each of them.

    Raises:
        InvalidInput: none, too short, or not base64. The message does not show it.
    """
    if not _keys(secret):
        msg = "the secret is empty; make one with costscope.webhooks.new_secret()"
        raise InvalidInput(msg)


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Make the `webhook-signature` header of a request.

    Args:
        secret: see `check_secret`.
        webhook_id: the `webhook-id` header; without a full stop, which ends it in what is signed.
        timestamp: the `webhook-timestamp` header: seconds since the epoch.
        body: the bytes that are sent.

    Raises:
        InvalidInput: the secret cannot be used, or the id has a full stop.
    """
    if "." in webhook_id:
        msg = f"{webhook_id!r} has a full stop and cannot be signed; replace it"
        raise InvalidInput(msg)
    check_secret(secret)
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return " ".join(_VERSION + _hmac(key, signed) for key in _keys(secret))


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> str:
    """Make sure that a request comes from a sender who knows the secret. For receivers.

    Args:
        secret: see `check_secret`; of several, any one will do.
        headers: of the request; capitals make no difference.
        body: as it was received; JSON that was decoded and encoded again is another text.
        tolerance_s: how far the request's time may be from this clock, in seconds.
        now_s: the time, in seconds since the epoch, where it does not come from the clock.

    Returns:
        The `webhook-id`: the same at every attempt to deliver one record, so that a receiver that remembers the ids
        it has seen handles each record once.

    Raises:
        WrongSignature: a header is missing, the time is too far off, or no signature fits.
        InvalidInput: the secret cannot be used.
    """
    check_secret(secret)
    given = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (_ID, _TIMESTAMP, _SIGNATURE) if not given.get(name)]
    if missing:
        msg = f"the request has no header {missing[0]}"
        raise WrongSignature(msg)
    webhook_id, timestamp = given[_ID], given[_TIMESTAMP]
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _TIMESTAMP_DIGITS):
        msg = "webhook-timestamp is no whole number of seconds"
        raise WrongSignature(msg)
    apart_s = (time.time() if now_s is None else now_s) - int(timestamp)
    if not abs(apart_s) <= tolerance_s:
        msg = (
            f"the request is {apart_s:.0f} s old by this clock, and {tolerance_s:g} s are allowed either way"
        )
        raise WrongSignature(msg)
    signed = f"{webhook_id}.{timestamp}.".encode("utf-8", "backslashreplace") + body
    expected = [(_VERSION + _hmac(key, signed)).encode() for key in _keys(secret)]
    found = [one.encode("utf-8", "backslashreplace") for one in given[_SIGNATURE].split(" ")]
    # All pairs, so that the time it takes says nothing about which of them fits.
    if not sum(hmac.compare_digest(one, other) for one in found for other in expected):
        msg = "no signature fits this secret and this body"
        raise WrongSignature(msg)
    return webhook_id


def _hmac(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")


def _keys(secret: str) -> list[bytes]:
    return [_key(one) for one in secret.split()]


def _key(secret: str) -> bytes:
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error as error:
            msg = f"a secret that begins with {_PREFIX} must go on in base64"
            raise InvalidInput(msg) from error
    else:
        key = secret.encode("utf-8", "backslashreplace")
    if len(key) < _KEY_MIN:
        msg = f"a secret of {len(key)} bytes is too short; take at least {_KEY_MIN}: costscope.webhooks.new_secret()"
        raise InvalidInput(msg)
    return key
