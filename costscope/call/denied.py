"""`on_denied=` of a decorator: raise, return something else, or wait for calls in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from costscope.errors import BudgetExceeded, InvalidAmount, InvalidInput, RunHalted
from costscope.policy.controls import OnDenied
from costscope.policy.durations import to_ms

if TYPE_CHECKING:
    from costscope.call.call import Call
    from costscope.errors import CallDenied

__all__ = ["OnDeniedOption", "Return", "Wait", "instead_of", "on_denied_option"]


class Return(msgspec.Struct, frozen=True):
    """`on_denied=Return(value)`: a refused call returns this instead of raising.

    Of a generator it is the only item, and None stands for no item at all. A halted run raises all the same: a loop
    that goes on with what it was given instead would never end.
    """

    value: object = None


class Wait(msgspec.Struct, frozen=True):
    """`on_denied=Wait("30s")`: a call refused for calls in flight waits so long for them, first come, first served.

    A plain function that is called in an event loop does not wait, for it would hold up the calls it waits for.
    """

    timeout: str | int | float


OnDeniedOption = Literal["raise"] | Return | Wait


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
    """What a refused call returns.

    Raises:
        CallDenied: it raises.
    """
    said = call.on_denied
    if said is None and isinstance(error, BudgetExceeded):
        said = call.scope.on_denied(error.budget)
    if said is None or said.do != "return" or isinstance(error, RunHalted):
        raise error
    return said.value
