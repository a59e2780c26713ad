"""What happens in the demo: who the agents are, what each level may spend, and the policy that says so.

Everything follows from a few numbers, so the parent and its workers agree without talking to each other.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from costscope.pricing.money import currency

if TYPE_CHECKING:
    from collections.abc import Mapping

Path = tuple[str, ...]
"""A node of the tree by its labels: `(tenant,)`, `(tenant, workflow)`, `(tenant, workflow, agent)`, and the run."""
Wild = Literal["repeats", "failures"]
"""How a run goes out of control: it makes one call again and again, or calls what always fails."""


class Tenant(NamedTuple):
    """What one tenant may do, in percent."""

    budget: int  # of what all tenants may spend
    acts_at: int  # the threshold that does more than call back ...
    action: object  # ... namely this
    places: int = 100  # of its agents, how many may be in a run at once; the others wait for their turn
    runs: int = 100  # of the runs its agents want, how many it may make in a day


LABELS: Final = ("tenant", "workflow", "agent", "run")
TENANTS: Final = {
    "acme": Tenant(50, 80, "downgrade_model", places=75),
    "birch": Tenant(30, 95, "halt_new_runs"),
    "cedar": Tenant(20, 80, {"limit_capabilities": {"max_tokens": 0.5}}, runs=75),
}
PERCENTS: Final = (50, 80, 95)  # the thresholds of each tenant
_WORKFLOWS: Final = ("research", "support")
_WORKFLOW_PERCENT: Final = 65  # what one of two workflows may take of its tenant: together more than that has
_AGENT_PERCENT: Final = 120  # what an agent may take of an equal share of its workflow
_RUN_PERCENT: Final = 140  # what a run may take of an equal share of its agent

LARGE: Final = "demo-large"
SMALL: Final = "demo-small"
MODELS: Final = {
    LARGE: {"input": "2.50", "output": "10.00", "max_output_tokens": 2048},
    SMALL: {"input": "0.15", "output": "0.60", "max_output_tokens": 2048},
}
"""Prices for the policy, in USD per million tokens; those of two models of a well-known provider."""
TOOLS: Final = {"web_search": "0.001", "run_code": "0.0004", "old_service": "0"}
"""USD per call."""
RUNAWAY: Final = {"failures": 3, "repeats": 10}
"""So many calls show that a run is out of control; these are the defaults."""

TURN_CALLS: Final = 5  # in one iteration
_RUN_CALLS: Final = 20
_RUNS_MAX: Final = 8
_WILD_CALLS: Final = 15  # a run of fewer has no time to go out of control


class Scenario(msgspec.Struct, frozen=True, dict=True):
    """One run of the demo."""

    processes: int
    tasks: int  # agents in each process
    calls: int  # that each agent tries, if it gets all its runs admitted and none is stopped
    budget_nano: int  # what all tenants may spend together, in nano-USD
    seed: int
    lease_s: float
    victim: int | None  # the process that is killed
    timezone: str = "UTC"

    @property
    def runs(self) -> int:
        """Runs each agent wants to make, one after the other."""
        return min(max(self.calls // _RUN_CALLS, 1), _RUNS_MAX)

    def calls_of(self, run: int) -> range:
        """Return the attempts that an agent makes in one of its runs, counted from 0."""
        return range(self.calls * run // self.runs, self.calls * (run + 1) // self.runs)

    @property
    def turns(self) -> int:
        """Iterations a run may have: enough for the longest."""
        return -(-len(self.calls_of(self.runs - 1)) // TURN_CALLS)

    @cached_property
    def agents(self) -> tuple[Path, ...]:
        """All of them, process after process; each workflow has agents of several processes."""
        nodes = [(tenant, workflow) for workflow in _WORKFLOWS for tenant in TENANTS]
        return tuple(
            (*nodes[index % len(nodes)], f"agent-{index + 1:02d}")
            for index in range(self.processes * self.tasks)
        )

    @cached_property
    def wild(self) -> dict[Path, Wild]:
        """The runs that go out of control: of the first agent, and not its first one if it has others."""
        if len(self.calls_of(0)) < _WILD_CALLS:
            return {}
        first = 1 if self.runs > 2 else 0  # noqa: PLR2004 - one before, two wild ones
        kinds: tuple[Wild, ...] = ("repeats", "failures")
        return {run_of(self.agents[0], first + at): kind for at, kind in enumerate(kinds[: self.runs])}

    @cached_property
    def limits(self) -> dict[Path, int]:
        """What each tenant, workflow, agent and run may spend, in nano-USD; the tenants' add up to the budget."""
        crowd = Counter(agent[:2] for agent in self.agents)
        limits: dict[Path, int] = {
            (name,): self.budget_nano * tenant.budget // 100 for name, tenant in TENANTS.items()
        }
        limits[next(iter(limits))] += self.budget_nano - sum(limits.values())
        for agent in self.agents:
            workflow = limits[agent[:2]] = limits[agent[:1]] * _WORKFLOW_PERCENT // 100
            own = limits[agent] = min(workflow, workflow * _AGENT_PERCENT // (100 * crowd[agent[:2]]))
            each = min(own, own * _RUN_PERCENT // (100 * self.runs))
            limits.update((run_of(agent, number), each) for number in range(self.runs))
        return dict(sorted(limits.items()))


def run_of(agent: Path, number: int) -> Path:
    """Name one run of an agent, counted from 0: its label is unique over all agents."""
    return (*agent, f"{agent[-1]}.{number + 1}")


def path_of(labels: Mapping[str, str] | Mapping[str, str | None]) -> Path:
    """Find the node of the tree that has these labels."""
    return tuple(value for name in LABELS if (value := labels.get(name)) is not None)


def policy_of(scenario: Scenario) -> dict[str, object]:
    """Write the policy of the workers. A program of your own would have it in a file."""
    cost = {path: f"{currency(nano):f}" for path, nano in scenario.limits.items()}
    day = {"period": "daily", "timezone": scenario.timezone}
    turns = {"iterations": scenario.turns}
    budgets: list[dict[str, object]] = []
    for name, agents in Counter(sorted(agent[0] for agent in scenario.agents)).items():
        tenant = TENANTS[name]
        limits = {"cost": cost[name,], "runs": max(agents * scenario.runs * tenant.runs // 100, 1)}
        actions = {at: ["callback", *[tenant.action] * (at == tenant.acts_at)] for at in PERCENTS}
        thresholds = [{"at": at, "meter": "cost", "actions": given} for at, given in actions.items()]
        places = {"concurrent_runs": max(agents * tenant.places // 100, 1)}
        budgets += [
            _budget("day", (name,), limits, thresholds=thresholds, constraints=turns, **day),
            _budget("places", (name,), places, on_denied={"wait": "120s"}),
        ]
    # the agents of a workflow get an account each, in one budget, which limits their single runs, too
    for workflow, agent in sorted({agent[:2]: agent for agent in reversed(scenario.agents)}.items()):
        limits = {"cost": cost[agent], "tool_calls": max(1, scenario.calls // 8)}
        constraints = {"cost": cost[run_of(agent, 0)]}
        budgets += [
            _budget("day", workflow, {"cost": cost[workflow]}, **day),
            _budget("agent", (*workflow, "*"), limits, constraints=constraints, **day),
        ]
    stage = {"fallbacks": [SMALL], "downgrade_on": {"soft_threshold_exceeded": True}}
    return {
        "budgets": budgets,
        "routing": [{"id": "cheaper", "models": [LARGE], "stages": [stage]}],
        "runaway": RUNAWAY | {"actions": ["callback", "halt_run"]},
        "prices": {"models": MODELS, "tools": TOOLS},
    }


def _budget(kind: str, path: Path, limits: Mapping[str, object], **more: object) -> dict[str, object]:
    match = dict(zip(LABELS, path, strict=False))
    name = "-".join([*(label for label in path if label != "*"), kind])
    return {"id": name, "match": match, "per": list(match), "limits": limits, **more}
