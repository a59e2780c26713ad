"""The lifecycle of runs without scopes and decorators, for frameworks that call you at every step."""

from costscope.guard.decisions import (
    AdmissionDecision,
    Decision,
    DecisionWarning,
    IterationDecision,
    ModelDecision,
    RunSummary,
    SettledDecision,
    ToolDecision,
)
from costscope.guard.guard import Guard
from costscope.guard.requests import ModelRequest, ToolRequest

__all__ = [
    "AdmissionDecision",
    "Decision",
    "DecisionWarning",
    "Guard",
    "IterationDecision",
    "ModelDecision",
    "ModelRequest",
    "RunSummary",
    "SettledDecision",
    "ToolDecision",
    "ToolRequest",
]
