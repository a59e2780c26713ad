"""All warnings together: in the order of the policy's parts, each at a place that was written."""

from costscope.policy.lint.policy_lint import lint_policy
from costscope.policy.load.loader import parse_policy, read_policy


def test_the_examples_of_the_project_have_no_warning():
    from pathlib import Path

    folder = Path(__file__).parents[3] / "examples"
    for path in (*folder.glob("*.yaml"), *folder.glob("*/policy*.yaml"), *folder.glob("*/budgets*.yaml")):
        assert lint_policy(read_policy(str(path)).policy).warnings == (), path


def test_they_come_in_the_order_of_the_parts():
    policy = parse_policy(
        "webhooks: {ops: {url: 'https://x.example/', secret_env: S}}\n"
        "runaway: {match: {run: null}}\n"
        "budgets: [{id: a, limits: {cost: 1}, thresholds: [101]}, {id: b, match: {tenan: x}, limits: {cost: 2}}]\n"
    )
    places = [steps[:2] for steps, _ in lint_policy(policy).warnings]
    assert places == [
        ("budgets", 0),
        ("budgets", 1),
        ("budgets", 1),
        ("runaway", "match"),
        ("webhooks", "ops"),
    ]


def test_a_short_form_is_named_where_it_was_written(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("budgets:\n  - id: a\n    limits: {cost: 1}\n    thresholds:\n      - 50\n      - 120\n")
    loaded = read_policy(path)
    [(steps, _)] = lint_policy(loaded.policy).warnings
    assert str(loaded.document.place(steps)) == f"{path}:6: $.budgets[0].thresholds[1]"


def test_the_format_of_strands_costguard_is_named_as_it_was_written(tmp_path):
    path = tmp_path / "pricing.yaml"
    path.write_text(
        "pricing:\n  currency: USD\n  models:\n    gpt-4o:\n      input_per_1k: 2.50\n      output_per_1k: 10\n"
    )
    loaded = read_policy(path)
    places = [str(loaded.document.place(steps)) for steps, _ in lint_policy(loaded.policy).warnings]
    assert places == [
        f"{path}:5: $.pricing.models.gpt-4o.input_per_1k",
        f"{path}:6: $.pricing.models.gpt-4o.output_per_1k",
    ]


def test_an_action_of_that_format_is_named_where_it_was_written(tmp_path):
    path = tmp_path / "budgets.yaml"
    path.write_text("budgets:\n  - id: x\n    max_cost: 1\n    on_soft_threshold_exceeded: DOWNGRADE_MODEL\n")
    loaded = read_policy(path)
    places = {str(loaded.document.place(steps)) for steps, _ in lint_policy(loaded.policy).warnings}
    assert places == {f"{path}:4: $.budgets[0].on_soft_threshold_exceeded"}
