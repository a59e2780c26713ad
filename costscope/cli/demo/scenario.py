"""What happens in the demo: who the agents are, what each level may spend, how many runs they want.

Everything follows from a few numbers, so the parent and its workers agree without talking to each other. What the
policy makes of it stands in `rules`.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AGENT_DEPTH", "LABELS", "TENANTS", "Path", "Scenario", "Wild", "run_of", "usd"]

Path = tuple[str, ...]
"""A node of the tree by its labels: `(tenant,)`, `(tenant, workflow)`, `(tenant, workflow, agent)`, and the run."""

Wild = Literal["repeats", "failures"]
"""How a run goes out of control: it makes one call again and again, or calls what always fails."""

LABELS: Final = ("tenant", "workflow", "agent", "run")
AGENT_DEPTH: Final = 3

TENANTS: Final = {"acme": 50, "birch": 30, "cedar": 20}
"""The tenants and their shares of the budget, in percent."""
_WORKFLOWS: Final = ("research", "support")
_WORKFLOW_PERCENT: Final = 65
"""What one of two workflows may take of its tenant: together more than that has."""
_AGENT_PERCENT: Final = 120
_RUN_PERCENT: Final = 140
"""What an agent may take of an equal share of its workflow, and a run of its agent."""
_RUN_CALLS: Final = 20
_RUNS_MAX: Final = 8
_TURN_CALLS: Final = 5
_WILD_CALLS: Final = 15
"""A run of fewer calls has no time to go out of control."""


class Scenario(msgspec.Struct, frozen=True, dict=True):
    """One run of the demo."""

    processes: int
    tasks: int
    """Agents in each process."""
    calls: int
    """Calls each agent tries, if it gets all its runs admitted and no one stops them."""
    budget_nano: int
    """What all tenants may spend together, in nano-USD."""
    seed: int
    lease_s: float
    victim: int | None
    """The process that is killed; None: no one is."""
    timezone: str = "UTC"

    @property
    def slot_lease_s(self) -> float:
        """How long the places of a killed worker's runs stay taken; a live one renews them three times as often."""
        return self.lease_s + 2

    @property
    def attempts(self) -> int:
        """Calls that all agents try, if nothing stands in their way."""
        return self.processes * self.tasks * self.calls

    @property
    def silent_from(self) -> int:
        """The victim's calls get no answer any more as soon as one of its agents has come to this attempt."""
        return self.calls // 4

    @property
    def runs(self) -> int:
        """Runs each agent wants to make, one after the other."""
        return min(max(self.calls // _RUN_CALLS, 1), _RUNS_MAX)

    def calls_of(self, run: int) -> range:
        """The attempts that an agent makes in one of its runs, counted from 0."""
        return range(self.calls * run // self.runs, self.calls * (run + 1) // self.runs)

    @property
    def turns(self) -> int:
        """Iterations a run may have: enough for the longest."""
        return -(-len(self.calls_of(self.runs - 1)) // _TURN_CALLS)

    @property
    def turn_calls(self) -> int:
        """Calls in one iteration."""
        return _TURN_CALLS

    @property
    def tool_calls(self) -> int:
        """Tool calls each agent may make: less than it would like to."""
        return max(1, self.calls // 8)

    def agents_of(self, process: int) -> Iterator[Path]:
        """The agents of a process; each workflow has agents of several processes."""
        first = process * self.tasks
        return (_agent(index) for index in range(first, first + self.tasks))

    @cached_property
    def agents(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(agent for process in range(self.processes) for agent in self.agents_of(process))

    @cached_property
    def wild(self) -> dict[Path, Wild]:
        """The runs that go out of control: of the first agent, and not its first one if it has others."""
        if len(self.calls_of(0)) < _WILD_CALLS:
            return {}
        agent, first = self.agents[0], 1 if self.runs > 2 else 0  # noqa: PLR2004 - one before, two wild ones
        kinds: tuple[Wild, ...] = ("repeats", "failures")
        numbers = range(first, min(first + len(kinds), self.runs))
        return {run_of(agent, number): kind for number, kind in zip(numbers, kinds, strict=False)}

    @cached_property
    def limits(self) -> dict[Path, int]:
        """What each tenant, workflow, agent and run may spend, in nano-USD."""
        crowd = Counter(agent[:2] for agent in self.agents)
        limits = self._tenants()
        for agent in self.agents:
            workflow = limits[agent[:2]] = limits[agent[:1]] * _WORKFLOW_PERCENT // 100
            own = limits[agent] = min(workflow, workflow * _AGENT_PERCENT // (100 * crowd[agent[:2]]))
            each = min(own, own * _RUN_PERCENT // (100 * self.runs))
            limits.update((run_of(agent, number), each) for number in range(self.runs))
        return dict(sorted(limits.items()))

    def _tenants(self) -> dict[Path, int]:
        limits: dict[Path, int] = {
            (name,): self.budget_nano * percent // 100 for name, percent in TENANTS.items()
        }
        first = next(iter(limits))
        limits[first] += self.budget_nano - sum(
            limits.values()
        )  # the shares add up to the budget, to the nano
        return limits


def run_of(agent: Path, number: int) -> Path:
    """One run of an agent, counted from 0: its label is unique over all agents."""
    return (*agent, f"{agent[-1]}.{number + 1}")


def usd(nano: int) -> str:
    """Nano-USD as the decimal text a policy takes, exactly."""
    return f"{nano // 1_000_000_000}.{nano % 1_000_000_000:09d}"


def _agent(index: int) -> Path:
    tenants = tuple(TENANTS)
    tenant, rest = tenants[index % len(tenants)], index // len(tenants)
    return tenant, _WORKFLOWS[rest % len(_WORKFLOWS)], f"agent-{index + 1:02d}"
