"""Calls that are described rather than made, as if they were calls of a function that takes anything.

So they go through the same estimates, routes and settlements as those of decorated functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costscope.engine.state.route import Arguments
from costscope.errors import InvalidInput
from costscope.metered.options import Options
from costscope.metered.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from costscope.ledger import OnLost
    from costscope.pricing.estimate.model_call import Described

DescribedCall = tuple[Spec, Arguments]
"""How it is estimated and settled, and what it is called with."""


def before_model_call(**request: object) -> None:
    """The shape of every model call: it may have any argument."""


def before_tool_call(*values: object, **arguments: object) -> None:
    """The shape of every tool call."""


_MODEL = Spec("model", None, Options(), before_model_call)
_TOOL = Spec("tool", None, Options(), before_tool_call)


def described_model(options: Options) -> Spec:
    """How a model call is estimated, routed and settled; its arguments name the model."""
    return _MODEL.like(None, options)


def described_tool(name: str, options: Options) -> Spec:
    """How a call of this tool is."""
    return _TOOL.like(name, options)


def model_arguments(
    model: str, messages: object, max_tokens: int | None, request: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The arguments of a model call, under the names that the estimate looks for."""
    arguments: dict[str, Any] = {"model": model, **(request or {})}
    if messages is not None:
        arguments["messages"] = messages
    if max_tokens is not None:
        arguments["max_tokens"] = max_tokens
    return arguments


def key_function(key: str | None) -> Callable[..., str] | None:
    """An idempotency key that is known, as the function that a decorator is given."""
    return None if key is None else lambda *_, **__: key


def routed_call(
    call: Described, stage: str | None, *, routed: bool, on_lost: OnLost, key: str | None
) -> DescribedCall:
    """A model call that goes where its route says.

    Raises:
        InvalidInput: it is a tool's, or has a stage and is not to be routed.
    """
    model = call.get("model")
    if model is None or call.get("tool") is not None or not routed:
        what = "routed=" if stage is None else "stage="
        msg = f"{what} is about model calls with routed=True, whose caller calls `hold.model` with `hold.max_tokens`"
        raise InvalidInput(msg)
    options = Options(
        price=call.get("price"),
        estimate=call.get("estimate"),
        on_lost=on_lost,
        idempotency_key=key_function(key),
        stage=stage,
        tier=call.get("tier"),
        input_tokens=call.get("input_tokens"),
    )
    arguments = model_arguments(model, call.get("input_text"), call.get("max_output_tokens"))
    return described_model(options), ((), arguments)
