"""The alert rules of examples/observability, as promtool judges them, and that each was shown to fire and not to."""

import re

import pytest
import yaml
from prometheus import EXAMPLE, promtool

RULES = yaml.safe_load((EXAMPLE / "alerts.yml").read_text(encoding="utf-8"))
CASES = yaml.safe_load((EXAMPLE / "alerts_test.yml").read_text(encoding="utf-8"))
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}


@pytest.mark.usefixtures("installed_prometheus")
class TestPromtool:
    def test_the_rules_are_right(self):
        assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "alerts.yml")

    def test_the_configuration_is_right_and_finds_the_rules(self):
        assert f"{len(ALERTS)} rules found" in promtool("check", "config", "prometheus.yml")

    def test_every_alert_fires_when_it_should(self):
        assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")

    @pytest.mark.parametrize("expression", ["vector(0) > 1", "vector(1)"], ids=["never", "always"])
    def test_the_cases_notice_an_alert_that_is_never_there_or_always(self, tmp_path, expression):
        groups = [
            group | {"rules": [rule | {"expr": expression} for rule in group["rules"]]}
            for group in RULES["groups"]
        ]
        (tmp_path / "alerts.yml").write_text(yaml.safe_dump({"groups": groups}))
        (tmp_path / "cases.yml").write_text((EXAMPLE / "alerts_test.yml").read_text(encoding="utf-8"))
        with pytest.raises(AssertionError) as failed:
            promtool("test", "rules", str(tmp_path / "cases.yml"))
        assert set(re.findall(r"alertname: (\w+)", str(failed.value))) == set(ALERTS)


def test_every_alert_is_shown_to_fire_and_not_to_fire():
    shown = {name: set() for name in ALERTS}
    for case in CASES["tests"]:
        for check in case["alert_rule_test"]:
            shown[check["alertname"]].add("fires" if check.get("exp_alerts") else "silent")
    assert shown == {name: {"fires", "silent"} for name in ALERTS}


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in {"warning", "critical"}, name
        assert rule["annotations"].keys() == {"summary", "description"}, name


def test_every_alert_is_explained():
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(Costscope\w+)`", page)) == set(ALERTS)
