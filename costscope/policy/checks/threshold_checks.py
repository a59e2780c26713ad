"""Actions of thresholds and of the detection of runaways: that each has what it needs, and nothing else."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from costscope.policy.checks.value_checks import duration_problem, is_id
from costscope.policy.load.document import cut
from costscope.policy.model.actions import ACTIONS, FIELDS, Action
from costscope.policy.model.durations import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costscope.policy.load.document import Steps
    from costscope.policy.model.controls import Webhook


_BELONGS_TO: Final = {
    field: " or ".join(name for name, row in ACTIONS.items() if field in row.fields)
    for field, default in zip(
        Action.__struct_fields__[-len(Action.__struct_defaults__) :], Action.__struct_defaults__, strict=True
    )
    if default is None
}
"""Of fields that show whether they were given: what takes them."""


def actions_problems(actions: Sequence[Action], webhooks: Sequence[str]) -> Iterator[tuple[Steps, str]]:
    """Say what is wrong with a list of actions, where these webhooks exist."""
    if not actions:
        yield ("actions",), "the list is empty, so nothing would happen; name an action such as log"
    for index, action in enumerate(actions):
        for steps, problem in _action_problems(action, webhooks):
            yield ("actions", index, *steps), problem
        if action in actions[:index]:
            yield ("actions", index), f"{action.do} is listed twice with the same values; keep one"


def _action_problems(action: Action, webhooks: Sequence[str]) -> Iterator[tuple[Steps, str]]:
    fields = ACTIONS[action.do].fields
    for field, owner in _BELONGS_TO.items():
        if getattr(action, field) is not None and field not in fields:
            yield (field,), f"{field} is for {owner}, and this is {action.do}; remove it"
    caps = [field for field in fields if FIELDS[field] == "cap"]
    if caps and all(getattr(action, field) is None for field in caps):
        yield (
            (),
            f"{action.do} limits nothing; add {' or '.join(caps)}, an amount (500) or a factor (0.5)",
        )
    for field in fields:
        yield from _field_problems(field, getattr(action, field), webhooks)


def _field_problems(field: str, value: object, webhooks: Sequence[str]) -> Iterator[tuple[Steps, str]]:
    kind = FIELDS[field]
    if kind == "webhook" and (value is None or isinstance(value, str)):
        yield from _receiver(field, value, webhooks)
    elif kind == "model" and value == "":
        yield (field,), "is empty; name a model, or leave it out for the next fallback of the route"
    elif kind == "duration" and isinstance(value, Duration):
        problem = duration_problem(value, field, zero=True)
        if problem:
            yield (field,), problem
    elif isinstance(value, float) and not 0 < value < 1:
        yield (
            (field,),
            (
                f"{field}: {cut(value)} is no factor between 0 and 1 (0.5 is one half); "
                "an amount is a whole number such as 500"
            ),
        )
    elif isinstance(value, int) and value < 1:
        yield (field,), f"{field}: {cut(value)} leaves nothing; give at least 1, or use halt_run"


def _receiver(field: str, name: str | None, webhooks: Sequence[str]) -> Iterator[tuple[Steps, str]]:
    if not webhooks:
        yield ("do",), "no webhook is defined; add `webhooks: {ops: {url: ..., secret_env: ...}}`"
    elif name is None and len(webhooks) > 1:
        yield ("do",), f"there are {len(webhooks)} webhooks; say which with `{field}`: {', '.join(webhooks)}"
    elif name is not None and name not in webhooks:
        near = difflib.get_close_matches(name[:64], webhooks, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(webhooks)}"
        yield (field,), f"no webhook is called {cut(name)}; {hint}"


_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_URL_MAX: Final = 2048


def webhook_problems(name: str, webhook: Webhook) -> Iterator[tuple[Steps, str]]:
    """Say what is wrong with a webhook."""
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
