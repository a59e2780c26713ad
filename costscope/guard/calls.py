"""The hooks around a call, as procedures: the same two phases as those of a decorator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costscope.engine.call.drive import rescue, reserve_steps, settle_steps
from costscope.engine.enforcement.refusals import value_instead
from costscope.errors import CallDenied
from costscope.guard.answers import allow, changes_of, decide_next, deny
from costscope.guard.decisions import DecisionWarning, ModelDecision, SettledDecision, ToolDecision
from costscope.guard.open_runs import OpenCall
from costscope.guard.requests import model_call, tool_call
from costscope.ledger import Commit, new_id
from costscope.metered.build import open_call
from costscope.pricing.estimate.arguments import output_cap

if TYPE_CHECKING:
    from costscope.engine.state.call import Call
    from costscope.guard.open_runs import OpenRun
    from costscope.guard.requests import ModelRequest, ToolRequest
    from costscope.ledger import Release
    from costscope.metered.spec import DescribedCall
    from costscope.observe.telemetry.totals import CallKind
    from costscope.stores.effects import Steps


def model_begins(opened: OpenRun, model: str, given: ModelRequest) -> Steps[ModelDecision]:
    """Hold what the call can cost, where its route sends it.

    Raises:
        GuardError, InvalidInput: it is called out of order, or with something that cannot be used.
    """
    described = model_call(model, given)
    call_id = _id_of(opened, given.get("call_id"))
    own_cap = output_cap(described[1][1])
    call, refusal, request = yield from _begin(opened, "model", model, described, call_id)
    if refusal is not None:
        instead = _value_instead(call, refusal)
        return deny(ModelDecision, opened, refusal, call_id=call_id, model=model, instead=instead)
    cap = output_cap(request)
    asked: dict[str, Any] = {"call_id": call_id, "model": model, "max_tokens": cap, "request": request}
    if call is None:
        return allow(ModelDecision, opened, effective_model=model, **asked)
    return allow(
        ModelDecision,
        opened,
        reason=call.routing.reason if call.routing is not None else "",
        more_warnings=changes_of(call, model, own_cap, cap),
        effective_model=call.name,
        held=dict(call.amounts),
        saved=call.route.saved if call.route is not None and call.name != model else None,
        **asked,
    )


def tool_begins(opened: OpenRun, tool: str, given: ToolRequest) -> Steps[ToolDecision]:
    """Hold what the call can cost, and count it.

    Raises:
        GuardError, InvalidInput: it is called out of order, or with something that cannot be used.
    """
    described = tool_call(tool, given)
    call_id = _id_of(opened, given.get("call_id"))
    call, refusal, _ = yield from _begin(opened, "tool", tool, described, call_id)
    if refusal is not None:
        instead = _value_instead(call, refusal)
        return deny(ToolDecision, opened, refusal, call_id=call_id, tool=tool, instead=instead)
    held = {} if call is None else dict(call.amounts)
    return allow(ToolDecision, opened, call_id=call_id, tool=tool, held=held)


def call_ends(
    opened: OpenRun,
    kind: CallKind,
    call_id: str | None,
    *,
    reported: object = None,
    error: BaseException | str | None = None,
    model: str | None = None,
) -> Steps[SettledDecision]:
    """Commit what a call took, or give back what was not billed.

    Raises:
        CallUnknown: no such call is open.
    """
    ended = opened.take(kind, call_id)
    failure = RuntimeError(error) if isinstance(error, str) else error
    call = ended.call
    try:
        command = ended.settle_command(reported, failure, model)
        if call is not None:
            yield from settle_steps(call, command)
    except Exception:
        raise
    except BaseException:
        if call is not None:
            rescue(call)
        raise
    return decide_next(
        SettledDecision,
        opened,
        call_id=ended.call_id,
        charged=_booked_amounts(call, command),
        more_warnings=_usage_warning(kind, call, reported),
    )


def _begin(
    opened: OpenRun, kind: CallKind, name: str, described: DescribedCall, call_id: str
) -> Steps[tuple[Call | None, CallDenied | None, dict[str, Any]]]:
    """Reserve the call and enter it among the open ones.

    Returns:
        The call, None inside a metered function of the run, which is charged for both; what refused it; and its
        arguments as it is to be made.
    """
    spec, arguments = described
    call: Call | None = None
    try:
        call = open_call(spec, *arguments, opened.scope)
        if call is not None:
            yield from reserve_steps(call)
    except CallDenied as error:
        return call, error, arguments[1]
    try:
        if call is not None and kind == "model":
            name, arguments = call.name, spec.granted_arguments(call, *arguments)
        opened.add(OpenCall(call_id, spec, kind, name, call))
    except BaseException:
        if call is not None:  # the hold stands, and its decision has reached no one
            call.abandon()
        raise
    return call, None, arguments[1]


def _value_instead(call: Call | None, refusal: CallDenied) -> Any:
    """Return what the policy wants the refused call to answer; None where it says nothing of that."""
    try:
        return None if call is None else value_instead(call.scope, call.on_denied, refusal)
    except CallDenied:
        return None


def _booked_amounts(call: Call | None, command: Commit | Release | None) -> dict[str, int]:
    """Return what was entered into the books; of a call that no budget covers, what it cost all the same."""
    if type(command) is Commit:
        return dict(command.amounts)
    settled = None if call is None or call.accounts else call.settled
    return {} if settled is None else {"cost": settled.get("cost", 0)}


def _id_of(opened: OpenRun, given: str | None) -> str:
    if given is None:
        return new_id(opened.scope.services.now_ms())
    opened.check_free(given)
    return given


def _usage_warning(kind: CallKind, call: Call | None, reported: object) -> tuple[DecisionWarning, ...]:
    """Warn of usage that was reported, and of which none could be made."""
    if kind != "model" or call is None or reported is None:
        return ()
    if call.usage is None:
        message = "no usage could be read from what was reported; the whole hold was charged"
    elif call.price is None:
        message = f"no price is known for {call.name}; the whole hold was charged"
    else:
        return ()
    return (DecisionWarning(kind="usage", message=message),)
