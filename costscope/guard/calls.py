"""The hooks around a call, as procedures: the same two phases as those of a decorator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costscope.engine.call.drive import rescue, reserve_steps, settle_steps
from costscope.engine.enforcement.refusals import value_instead
from costscope.errors import CallDenied
from costscope.guard.answers import afterwards, allow, changes, refuse
from costscope.guard.decisions import DecisionWarning, ModelDecision, SettledDecision, ToolDecision
from costscope.guard.open_runs import OpenCall
from costscope.guard.requests import model_call, tool_call
from costscope.ledger import Commit, new_id
from costscope.metered.build import open_call
from costscope.pricing.estimate.arguments import output_cap

if TYPE_CHECKING:
    from costscope.engine.state.call import Call
    from costscope.engine.state.route import Arguments
    from costscope.guard.open_runs import OpenRun
    from costscope.guard.requests import ModelRequest, ToolRequest
    from costscope.ledger import Release
    from costscope.metered.spec import Spec
    from costscope.observe.telemetry.totals import CallKind
    from costscope.stores.effects import Steps


def model_begins(opened: OpenRun, model: str, given: ModelRequest) -> Steps[ModelDecision]:
    """Hold what the call can cost, where its route sends it.

    Raises:
        GuardError, InvalidInput: it is called out of order, or with something that cannot be used.
    """
    spec, arguments = model_call(model, given)
    call_id = _id_of(opened, given.get("call_id"))
    own_cap = output_cap(arguments[1])
    call, refusal = yield from _held(opened, spec, arguments)
    if refusal is not None:
        instead = _instead(call, refusal)
        return refuse(ModelDecision, opened, refusal, call_id=call_id, model=model, instead=instead)
    request = arguments[1]
    try:
        if call is not None:
            _, request = spec.granted_arguments(call, *arguments)
        name = model if call is None else call.name
        opened.add(OpenCall(call_id, spec, "model", name, call))
    except BaseException:  # its decision never reaches its caller
        if call is not None:
            call.abandon()
        raise
    cap = output_cap(request)
    said: dict[str, Any] = {}
    if call is not None:
        said = {
            "reason": call.routing.reason if call.routing is not None else "",
            "more_warnings": tuple(changes(call, model, own_cap, cap)),
            "held": dict(call.amounts),
            "saved": call.route.saved if call.route is not None and name != model else None,
        }
    said |= {
        "call_id": call_id,
        "model": model,
        "effective_model": name,
        "max_tokens": cap,
        "request": request,
    }
    return allow(ModelDecision, opened, **said)


def tool_begins(opened: OpenRun, tool: str, given: ToolRequest) -> Steps[ToolDecision]:
    """Hold what the call can cost, and count it.

    Raises:
        GuardError, InvalidInput: it is called out of order, or with something that cannot be used.
    """
    spec, arguments = tool_call(tool, given)
    call_id = _id_of(opened, given.get("call_id"))
    call, refusal = yield from _held(opened, spec, arguments)
    if refusal is not None:
        instead = _instead(call, refusal)
        return refuse(ToolDecision, opened, refusal, call_id=call_id, tool=tool, instead=instead)
    try:
        opened.add(OpenCall(call_id, spec, "tool", tool, call))
    except BaseException:  # its decision never reaches its caller
        if call is not None:
            call.abandon()
        raise
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
    return afterwards(
        SettledDecision,
        opened,
        call_id=ended.call_id,
        charged=_entered_amounts(call, command),
        more_warnings=_doubts(kind, call, reported),
    )


def _held(opened: OpenRun, spec: Spec, arguments: Arguments) -> Steps[tuple[Call | None, CallDenied | None]]:
    """The call, and what refused it; no call inside a metered function of the run, which is charged for both."""
    call: Call | None = None
    try:
        call = open_call(spec, *arguments, opened.scope)
        if call is not None:
            yield from reserve_steps(call)
    except CallDenied as error:
        return call, error
    return call, None


def _instead(call: Call | None, refusal: CallDenied) -> Any:
    """Return what the refused call is to answer, if the policy says so."""
    try:
        return None if call is None else value_instead(call.scope, call.on_denied, refusal)
    except CallDenied:  # it does not
        return None


def _entered_amounts(call: Call | None, command: Commit | Release | None) -> dict[str, int]:
    """What was entered into the books; of a call that no budget covers, what it cost all the same."""
    if type(command) is Commit:
        return dict(command.amounts)
    settled = None if call is None or call.accounts else call.settled
    return {} if settled is None else {"cost": settled.get("cost", 0)}


def _id_of(opened: OpenRun, given: str | None) -> str:
    if given is None:
        return new_id(opened.scope.services.now_ms())
    opened.check_free(given)
    return given


def _doubts(kind: CallKind, call: Call | None, reported: object) -> tuple[DecisionWarning, ...]:
    """Usage was reported, and none could be made of it."""
    if kind != "model" or call is None or reported is None:
        return ()
    if call.usage is None:
        message = "no usage could be read from what was reported; the whole hold was charged"
    elif call.price is None:
        message = f"no price is known for {call.name}; the whole hold was charged"
    else:
        return ()
    return (DecisionWarning(kind="usage", message=message),)
