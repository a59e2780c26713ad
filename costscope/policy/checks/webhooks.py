"""Webhooks: an address that can be one, and a secret that stands outside of the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from costscope.policy.checks.amounts import duration_problem
from costscope.policy.checks.ids import is_id
from costscope.policy.document import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.policy.controls import Webhook
    from costscope.policy.document import Steps

__all__ = ["webhook_problems"]

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_URL_MAX: Final = 2048


def webhook_problems(name: str, webhook: Webhook) -> Iterator[tuple[Steps, str]]:
    """What is wrong with a webhook."""
    if not is_id(name):
        yield (), f"{cut(name)} is no name of a webhook; use 1 to 64 letters, digits and _ . -"
    wrong = _url_problem(webhook.url)
    if wrong:
        yield ("url",), f"{cut(webhook.url)} {wrong}"
    if not _VARIABLE.fullmatch(webhook.secret_env):  # not shown: it may be the secret itself
        yield (
            ("secret_env",),
            (
                "is not the name of an environment variable; name the one that holds the secret, such as "
                "OPS_WEBHOOK_SECRET, and keep the secret out of the file"
            ),
        )
    wrong = duration_problem(webhook.timeout, "timeout")
    if wrong:
        yield ("timeout",), wrong


def _url_problem(url: str) -> str | None:
    if len(url) > _URL_MAX:
        return f"has {len(url)} characters, the limit is {_URL_MAX}"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "is no URL; percent-encode what is not plain ASCII"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL; write https://HOST/PATH"
    if parts.scheme not in {"http", "https"} or not host:
        return "is no address to post to; write https://HOST/PATH"
    if parts.username is not None or parts.password is not None:
        return "has a password in it, which the file would show; let the receiver check the signature"
    return None
