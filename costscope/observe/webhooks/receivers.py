"""The webhooks of a policy, ready to be sent to: checked, with their secrets, and with how they have answered.

When a delivery is tried: the board brings it back each time its lease is over, to the process that asks first, and
counts how often. It is tried the first, second, fourth, eighth ... time, and the lease varies: that is an exponential
backoff with jitter that no process has to remember, so that it goes on when processes come and go. A retry loop
(tenacity's, as elsewhere) would end with its process.
"""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from costscope.errors import InvalidAmount, InvalidInput, InvalidPolicy
from costscope.observe.webhooks.signature import check_secret
from costscope.policy.model.durations import to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from costscope.policy.model.controls import Webhook


Verdict = Literal["delivered", "away", "again", "never"]
"""`away`: the receiver does not answer, or says that it cannot; `again`: it does, but not to this record."""

_ROUNDS_MAX: Final = 64
"""The most leases between two tries: with a lease of 15 s, 16 minutes."""

LEASE_MARGIN_S: Final = 5.0
FIRST_PAUSE_S: Final = 2.0
_PAUSE_MAX_S: Final = 600.0
_RETRY_AFTER_MAX_S: Final = 3_600.0
_ANOTHER_TIME: Final = frozenset({408, 425, 429})
"""What a receiver says that wants the request later."""
_GONE: Final = 410


def is_due_attempt(attempt: int) -> bool:
    """Say whether a delivery that is taken for the `attempt`-th time (1 is the first) is to be sent now."""
    if attempt >= _ROUNDS_MAX:
        return attempt % _ROUNDS_MAX == 0
    return attempt & (attempt - 1) == 0


def lease_ms(longest_timeout_s: float, random: Callable[[], float], margin_s: float = LEASE_MARGIN_S) -> int:
    """Return how long a process has for what it takes, in ms: two requests that time out, a margin, 20% more or less.

    Args:
        longest_timeout_s: of any webhook.
        random: gives numbers from 0 to 1.
        margin_s: the margin.
    """
    return round((margin_s + 2 * longest_timeout_s) * (0.8 + 0.4 * random()) * 1000)


def pause_s(
    failures: int,
    random: Callable[[], float],
    retry_after_s: float | None = None,
    first_s: float = FIRST_PAUSE_S,
) -> float:
    """Return how long a receiver is left alone after so many failures one after the other (at least 1), in seconds.

    Args:
        failures: how many.
        random: gives numbers from 0 to 1.
        retry_after_s: what the receiver asked for; at most an hour is granted.
        first_s: the longest after the first failure; it doubles with each.
    """
    longest = min(first_s * 2.0 ** min(failures - 1, 30), _PAUSE_MAX_S)
    asked = min(retry_after_s, _RETRY_AFTER_MAX_S) if retry_after_s is not None else 0.0
    return max(asked, longest * (0.5 + 0.5 * random()))


def verdict(status: int | None) -> Verdict:
    """Judge what becomes of a delivery.

    Only 410 ends it: a path that is not there yet, or a secret that is about to be changed, must not lose records.

    Args:
        status: of the answer; None if there was none.
    """
    if status is None or status >= 500 or status in _ANOTHER_TIME:  # noqa: PLR2004 - the classes of HTTP's status
        return "away"
    if 200 <= status < 300:  # noqa: PLR2004
        return "delivered"
    return "never" if status == _GONE else "again"


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
        """Say whether it failed so recently that nothing is sent now.

        Args:
            now_s: as `time.monotonic`.
        """
        return now_s < self._silent_until_s

    def record_answer(self) -> None:
        """Remember that it has answered, if only to refuse."""
        self._failures = 0
        self._silent_until_s = 0.0

    def record_failure(
        self,
        now_s: float,
        random: Callable[[], float],
        retry_after_s: float | None,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """Leave it alone for a while, longer each time: it is not there, or not now; see `pause_s`."""
        self._failures += 1
        self._silent_until_s = now_s + pause_s(self._failures, random, retry_after_s, first_pause_s)


def receivers(webhooks: Mapping[str, Webhook], environ: Mapping[str, str]) -> dict[str, Receiver]:
    """Make the receivers of a policy's webhooks, by name.

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
