"""The dashboard of examples/observability: that Grafana takes it, and that it asks for what there is."""

import json
import re
from itertools import combinations

import yaml
from prometheus import EXAMPLE, expressions, panels

from costscope.observe.exporter.series import families, rules, status
from costscope.observe.telemetry.metrics import METRICS
from costscope.policy import Policy

BOARD = json.loads((EXAMPLE / "dashboard.json").read_text(encoding="utf-8"))
ROWS = [
    "Overview",
    "Tokens and cost, by model and tenant",
    "Burn rate and runaways",
    "Calls and tools",
    "Budgets",
]


def known_series():
    """The names of all series there can be, as Prometheus sees them."""
    names = {"up", "ALERTS"}
    for family in [
        *families([], ()),
        rules(Policy()),
        *status(holds=0, differences=0, accounts=0, events={}, seconds=0),
    ]:
        names.add(f"{family.name}_total" if family.kind == "counter" else family.name)
    for metric in METRICS.values():
        name = metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")
        if metric.kind == "histogram":
            names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        else:
            names.add(f"{name}_total" if metric.kind == "counter" else name)
    return names


def asked_for(expression):
    """The names of series in an expression."""
    return set(re.findall(r"\b(?:costscope_\w+|up\b|ALERTS\b)", re.sub(r'"[^"]*"', '""', expression)))


def test_it_has_the_rows_that_are_promised():
    assert [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"] == ROWS


def test_panels_have_ids_and_places_of_their_own():
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    for one, other in combinations(BOARD["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart = apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, f"{one['title']} lies on {other['title']}"
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in BOARD["panels"])


def test_every_panel_says_what_it_shows_in_which_unit_and_from_the_chosen_source():
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], panel["title"]
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])


def test_source_tenant_and_budget_can_be_chosen():
    variables = {each["name"]: each for each in BOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "tenant", "budget"]
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for name in ("tenant", "budget"):
        assert (variables[name]["multi"], variables[name]["includeAll"]) == (True, True)
        assert variables[name]["allValue"] == ".*", "or budgets that are not split by tenant would be hidden"


def test_variables_are_used_as_patterns():
    for place, expression in expressions().items():
        assert set(re.findall(r"\$(\w+)", expression)) <= {
            "tenant",
            "budget",
            "__range",
            "__rate_interval",
        }, place
        assert not re.search(r'[^~]"\$(tenant|budget)"', expression), f"{place}: several may be chosen"


def test_it_and_the_alerts_ask_only_for_series_that_there_are():
    known = known_series()
    for place, expression in expressions().items():
        assert asked_for(expression), place
        assert asked_for(expression) <= known, place
    groups = yaml.safe_load((EXAMPLE / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert asked_for(rule["expr"]) <= known, rule["alert"]


def test_an_amount_that_was_read_twice_is_not_counted_twice():
    """Two exporters may read the same books: what they say is never added up over both."""
    gauges = {family.name for family in families([], ())}
    for place, expression in expressions().items():
        if asked_for(expression) & gauges and expression.startswith("sum"):
            assert "max without (instance, job)" in expression, place
