"""What the hooks before a call are told about it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from costscope.errors import InvalidInput
from costscope.metered.options import Options
from costscope.metered.spec import (
    DescribedCall,
    described_model,
    described_tool,
    key_function,
    model_arguments,
)
from costscope.pricing.usage.shapes import read_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.ledger import OnLost
    from costscope.metered.options import OnDeniedOption


class ModelRequest(TypedDict, total=False):
    """A model call that is about to be made."""

    messages: object
    """What will be sent: messages, or text. Bounds the input tokens."""
    max_tokens: int | None
    """The output cap of the call, if it has one."""
    input_tokens: int | None
    """The most input tokens, where the text is not at hand; added to those of the text where it is."""
    request: Mapping[str, Any]
    """Any further arguments of the call by their names at the provider: `tools`, `n`, `service_tier` ..."""
    stage: str | None
    """For the policy's routes."""
    tier: str | None
    """The service tier of the call, such as `batch`, where its arguments do not say."""
    price: object
    """As for `metered_model`."""
    estimate: object
    """`strict` (default), `capped`, or the most the call can cost."""
    on_denied: OnDeniedOption | None
    """As for `metered_model`; `Wait` waits in the hook."""
    on_lost: OnLost
    """What becomes of the hold if this process dies: `charge` (default) or `release`."""
    idempotency_key: str | None
    """Calls with one key are reserved and charged once within a day."""
    call_id: str
    """The framework's own id of the call; by default the guard makes one."""


class ToolRequest(TypedDict, total=False):
    """A tool call that is about to be made."""

    arguments: object
    """What the tool is called with: a mapping, or a value. Calls are told apart by them."""
    price: object
    """What it costs; by default what the policy says."""
    estimate: object
    """The most it can cost, where that is known only afterwards."""
    on_denied: OnDeniedOption | None
    on_lost: OnLost
    idempotency_key: str | None
    call_id: str


def model_call(model: str, given: ModelRequest) -> DescribedCall:
    """Return how the call is estimated and settled, and its arguments.

    Raises:
        InvalidInput: something given cannot be used.
    """
    _check_names(given, ModelRequest)
    _check_text("model", model)
    options = Options(
        price=given.get("price"),
        estimate=given.get("estimate"),
        usage=_usage_of,
        on_denied=given.get("on_denied"),
        on_lost=given.get("on_lost", "charge"),
        idempotency_key=_key(given.get("idempotency_key")),
        stage=given.get("stage"),
        tier=given.get("tier"),
        input_tokens=given.get("input_tokens"),
    )
    arguments = model_arguments(model, given.get("messages"), given.get("max_tokens"), given.get("request"))
    return described_model(options), ((), arguments)


def tool_call(tool: str, given: ToolRequest) -> DescribedCall:
    """Do as `model_call`.

    Raises:
        InvalidInput: something given cannot be used.
    """
    _check_names(given, ToolRequest)
    _check_text("tool", tool)
    arguments = given.get("arguments")
    options = Options(
        price=given.get("price"),
        estimate=given.get("estimate"),
        usage=_as_it_is,
        on_denied=given.get("on_denied"),
        on_lost=given.get("on_lost", "charge"),
        idempotency_key=_key(given.get("idempotency_key")),
    )
    spec = described_tool(tool, options)
    if isinstance(arguments, Mapping):
        return spec, ((), {str(name): value for name, value in arguments.items()})
    return spec, (() if arguments is None else (arguments,), {})


def _usage_of(reported: object) -> object:
    """Return a response's own usage; else what was reported is itself the usage, or none."""
    return read_usage(reported) or reported


def _as_it_is(reported: object) -> object:
    return reported


def _key(key: str | None) -> Callable[..., str] | None:
    if key is not None:
        _check_text("idempotency_key", key)
    return key_function(key)


def _check_names(given: Mapping[str, object], known: type) -> None:
    """Refuse a misspelt name: without its `max_tokens` a call would have no cap."""
    names = known.__annotations__
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}=? " if near else ""
            also = "; arguments of the call itself go into request={...}" if known is ModelRequest else ""
            msg = f"{name}= says nothing here: {hint}there are {', '.join(names)}{also}"
            raise InvalidInput(msg)


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        msg = f"{what}={value!r:.60}: give its name as a text that is not empty"
        raise InvalidInput(msg)
