"""The webhooks of a policy, ready to be sent to: checked, with their secrets, and with how they have answered."""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from costscope.errors import InvalidAmount, InvalidInput, InvalidPolicy
from costscope.policy.durations import to_ms
from costscope.webhooks.schedule import FIRST_PAUSE_S, pause_s
from costscope.webhooks.signature import check_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from costscope.policy.controls import Webhook

__all__ = ["TIMEOUT_MAX_S", "Receiver", "receivers"]

TIMEOUT_MAX_S: Final = 60.0

log = logging.getLogger("costscope.webhooks")


class Receiver:
    """One webhook.

    Attributes:
        name: in the policy.
        url: where requests go; it may hold a password or a token, so that no log shows it.
        secret: to sign with.
        timeout_s: for connecting, and for each answer.
        place: scheme, host and port of the URL, for the log.
    """

    def __init__(self, name: str, url: str, secret: str, timeout_s: float) -> None:
        self.name = name
        self.url = url
        self.secret = secret
        self.timeout_s = timeout_s
        self.place = _place(urlsplit(url))
        self._failures = 0
        self._silent_until_s = 0.0

    def __repr__(self) -> str:
        return f"<Receiver {self.name} at {self.place}>"

    def is_left_alone(self, now_s: float) -> bool:
        """Whether it failed so recently that nothing is sent now.

        Args:
            now_s: as `time.monotonic`.
        """
        return now_s < self._silent_until_s

    def answered(self) -> None:
        """It has answered, if only to refuse."""
        self._failures = 0
        self._silent_until_s = 0.0

    def failed(
        self,
        now_s: float,
        random: Callable[[], float],
        retry_after_s: float | None,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """It is not there, or not now: it is left alone for a while, longer each time; see `pause_s`."""
        self._failures += 1
        self._silent_until_s = now_s + pause_s(self._failures, random, retry_after_s, first_pause_s)


def receivers(webhooks: Mapping[str, Webhook], environ: Mapping[str, str]) -> dict[str, Receiver]:
    """The webhooks of a policy by name.

    Raises:
        InvalidPolicy: a URL or time-out that cannot be used, or a secret that is not in the environment.
    """
    return {name: _receiver(name, webhook, environ) for name, webhook in webhooks.items()}


def _receiver(name: str, webhook: Webhook, environ: Mapping[str, str]) -> Receiver:
    path = f"$.webhooks.{name}"
    _check_url(name, webhook.url, f"{path}.url")
    try:
        timeout_s = to_ms(webhook.timeout, what="timeout") / 1000
    except InvalidAmount as error:
        raise InvalidPolicy(str(error), path=f"{path}.timeout") from error
    if not 0 < timeout_s <= TIMEOUT_MAX_S:
        problem = f"{webhook.timeout!r} is no time-out for a webhook; give more than 0 and at most {TIMEOUT_MAX_S:g}s"
        raise InvalidPolicy(problem, path=f"{path}.timeout")
    secret = environ.get(webhook.secret_env, "")
    try:
        check_secret(secret)
    except InvalidInput as error:
        problem = f"the environment variable {webhook.secret_env}: {error}"
        raise InvalidPolicy(problem, path=f"{path}.secret_env") from None
    return Receiver(name, webhook.url, secret, timeout_s)


def _check_url(name: str, url: str, path: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not match
        usable = False
    if not usable:
        problem = "this is no URL for a webhook; write https://HOST/PATH"  # not the URL: it may hold a token
        raise InvalidPolicy(problem, path=path)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        log.warning("webhook %s: records go to %s unencrypted; write https", name, _place(parts))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _place(parts: SplitResult) -> str:
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
