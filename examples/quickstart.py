"""The quickstart of the README, from any folder; its policy is the budgets.yaml beside it."""

import os
from pathlib import Path
from types import SimpleNamespace

# --- A stand-in, so that this runs without a network. Put your own here: client = openai.OpenAI()


def _answer(**_: object) -> SimpleNamespace:
    message = SimpleNamespace(role="assistant", content="Forty-two.")
    usage = SimpleNamespace(prompt_tokens=12, completion_tokens=5, total_tokens=17)
    return SimpleNamespace(choices=[SimpleNamespace(message=message)], usage=usage)


client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=_answer)))

os.chdir(Path(__file__).parent)  # the code of the README finds its policy in the current folder

# --- From here on it is the README's code, letter by letter.
# ruff: noqa: ANN001, ANN201, D103, E402
# fmt: off

import costscope
from costscope import BudgetExceeded, budget_scope, metered_model, metered_tool

costscope.configure(store="memory://", policy="budgets.yaml")   # or COSTSCOPE_STORE / COSTSCOPE_POLICY

@metered_tool("web_search", price="0.01")
def web_search(query: str) -> list[str]: ...

@metered_model("gpt-4o-mini")                  # the price comes from the price table
def complete(messages, *, max_tokens=300):     # usage is read from what the call returns
    return client.chat.completions.create(model="gpt-4o-mini", messages=messages, max_tokens=max_tokens)

with budget_scope(tenant="acme", workflow="report", run="run-123", max_cost="2.00") as run:
    with budget_scope(agent="researcher", max_cost="0.50", max_tool_calls=20):
        web_search("...")
        complete([{"role": "user", "content": "..."}])
    print(run.spent, run.remaining)            # and run.report(): the tree with every account

# fmt: on
# --- What a refusal looks like: the 21st of 20 tool calls.

with budget_scope(tenant="acme", workflow="report", run="run-123", max_cost="2.00") as run:
    try:
        with budget_scope(agent="impatient", max_tool_calls=20):
            for _ in range(21):
                web_search("...")
    except BudgetExceeded as refusal:
        print(refusal)
    print(run.report())
