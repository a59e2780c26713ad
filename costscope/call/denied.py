"""`on_denied=` of a decorator: raise, return something else, or wait for calls in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from costscope.errors import BudgetExceeded, InvalidAmount, InvalidInput
from costscope.policy.controls import OnDenied
from costscope.policy.durations import to_ms

if TYPE_CHECKING:
    from costscope.call.call import Call
    from costscope.errors import CallDenied

__all__ = ["NOT_RETURNED", "OnDeniedOption", "Return", "Wait", "instead_of", "on_denied_option"]


class Return(msgspec.Struct, frozen=True):
    """`on_denied=Return(value)`: a refused call returns this instead of raising."""

    value: object = None


class Wait(msgspec.Struct, frozen=True):
    """`on_denied=Wait("30s")`: a call refused for calls in flight waits so long for them, first come, first served."""

    timeout: str | int | float


OnDeniedOption = Literal["raise"] | Return | Wait

NOT_RETURNED: Final[Any] = object()
"""There is no value: the refusal is raised."""


def on_denied_option(given: OnDeniedOption) -> OnDenied:
    """The option as the policy's own word for it.

    Raises:
        InvalidInput: something else.
    """
    if isinstance(given, Return):
        return OnDenied(do="return", value=given.value)
    if isinstance(given, Wait):
        try:
            if to_ms(given.timeout, what="on_denied=Wait") > 0:
                return OnDenied(do="wait", timeout=given.timeout)
        except InvalidAmount as error:
            raise InvalidInput(str(error)) from error
    if given == "raise":
        return OnDenied()
    msg = f'on_denied={given!r:.60}: write "raise", Return(value), or Wait("30s") with a time above 0'
    raise InvalidInput(msg)


def instead_of(call: Call, error: CallDenied) -> Any:
    """What a refused call returns; `NOT_RETURNED` where it raises."""
    said = call.on_denied
    if said is None and isinstance(error, BudgetExceeded):
        said = call.scope.on_denied(error.budget)
    return said.value if said is not None and said.do == "return" else NOT_RETURNED
