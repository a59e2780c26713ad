"""Without decorators: a framework calls you before and after each model call.

`reserve` holds the most a call can cost; `commit` settles it with what it did cost; leaving the block without
either charges what was held, because the call may have been billed.
"""

from contextlib import ExitStack

import costscope
from costscope import BudgetExceeded, NotBilled, Reservation, budget_scope

costscope.configure(store="memory://")


class BudgetCallbacks:
    """Callbacks in the form that many frameworks have: one method before a call, one after, one on failure."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[ExitStack, Reservation]] = {}

    def before_call(self, call_id: str, prompt: str, max_tokens: int) -> None:
        """Reserve, or raise `BudgetExceeded`, which stops the framework before it calls."""
        stack = ExitStack()
        hold = stack.enter_context(
            costscope.reserve(model="gpt-4o-mini", input_text=prompt, max_output_tokens=max_tokens)
        )
        self._open[call_id] = stack, hold

    def after_call(self, call_id: str, usage: object) -> None:
        """Settle with the provider's own usage."""
        stack, hold = self._open.pop(call_id)
        with stack:
            hold.commit(usage)

    def call_failed(self, call_id: str, error: Exception) -> None:
        """Leave the block with the error: what was provably not billed is released, the rest is charged."""
        stack, _ = self._open.pop(call_id)
        stack.__exit__(type(error), error, error.__traceback__)


callbacks = BudgetCallbacks()
with budget_scope(tenant="acme", max_cost="0.001") as scope:
    callbacks.before_call("1", "What is the answer?", max_tokens=300)
    print("held while the call runs:", scope.held)
    callbacks.after_call("1", {"prompt_tokens": 14, "completion_tokens": 9})
    print("spent after it:", scope.spent)

    callbacks.before_call("2", "And the question?", max_tokens=300)
    callbacks.call_failed("2", NotBilled("the provider refused the request"))
    print("spent after a call that was not billed:", scope.spent)

    try:
        callbacks.before_call("3", "Write a very long book.", max_tokens=16_000)
    except BudgetExceeded as refusal:
        print(refusal)

    # The same call with what is left: the output cap says how long the book may be.
    with costscope.reserve(
        model="gpt-4o-mini", input_text="Write a very long book.", max_output_tokens=16_000, estimate="capped"
    ) as hold:
        print("may write", hold.max_tokens, "tokens")
        assert hold.max_tokens is not None
        hold.commit((9, hold.max_tokens))
    assert scope.remaining is not None
    assert scope.remaining >= 0
