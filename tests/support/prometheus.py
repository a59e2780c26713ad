"""A real Prometheus in a folder of its own, and the files of examples/observability.

`Prometheus` and `promtool` are what Debian's package `prometheus` ships; `missing()` says what is not there.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

from costscope_valkey.guardian import die_with_parent

__all__ = ["EXAMPLE", "Prometheus", "expressions", "missing", "panels", "promtool", "substituted"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "observability"
_LISTENING = re.compile(r'msg="Listening on" .*?address=(?:\S*?):(\d+)')


def missing() -> str:
    """Why tests with Prometheus cannot run here; empty if they can."""
    names = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    return f"{' and '.join(names)} not on the PATH: apt-get install prometheus" if names else ""


def promtool(*args: str) -> str:
    """What it says; an assertion fails if it is not content."""
    done = subprocess.run(
        ["promtool", *args],
        cwd=EXAMPLE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def panels() -> list[dict]:
    """The panels of the dashboard, without its rows."""
    board = json.loads((EXAMPLE / "dashboard.json").read_text(encoding="utf-8"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Every PromQL expression of the dashboard, by where it stands."""
    board = json.loads((EXAMPLE / "dashboard.json").read_text(encoding="utf-8"))
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    }
    notes = (each for each in board["annotations"]["list"] if "expr" in each)
    return found | {f"annotation {each['name']}": each["expr"] for each in notes}


def substituted(expression: str, **values: str) -> str:
    """An expression as Grafana sends it: with the values of its variables."""
    given = {"__rate_interval": "8s", "__range": "1m", "tenant": ".*", "budget": ".*"} | values
    text = re.sub(r"\$(\w+)", lambda found: given[found[1]], expression)
    assert "$" not in text
    return text


class Prometheus:
    """Scrapes twice a second, with the example's configuration and rules otherwise.

    Alerts need not hold for a while: only that is left out of the rules, and their expressions are those shipped.

    Args:
        folder: for everything it writes.
        ports: on which each of the jobs serves its metrics, on loopback. They may begin to after this has.
    """

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self._log = folder / "log"
        rules = (EXAMPLE / "alerts.yml").read_text(encoding="utf-8")
        (folder / "alerts.yml").write_text(re.sub(r"(?m)^( +for: )\w+$", r"\g<1>0s", rules))
        config = yaml.safe_load((EXAMPLE / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        assert {job["job_name"] for job in config["scrape_configs"]} == set(ports)
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it only asks the kernel for that
            )
        while not (port := _LISTENING.search(self.log())):
            assert self.process.poll() is None, self.log()
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{port[1]}"
        self.until(self._ready, "is not ready")

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def until_scraped(self, job: str) -> None:
        self.until(lambda: self.query(f'up{{job="{job}"}} == 1'), f"{job} is not scraped")

    def query(self, expression: str) -> list[dict]:
        """The samples of an instant query, now."""
        return self._api("query", query=expression)["result"]

    def firing(self) -> dict[str, list[dict[str, str]]]:
        """The labels of the alerts that fire, by their names."""
        found: dict[str, list[dict[str, str]]] = {}
        for alert in self._api("alerts")["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return found

    def rules(self) -> dict[str, dict]:
        """The alerting rules as they were loaded, by their names."""
        return {
            rule["name"]: rule
            for group in self._api("rules", type="alert")["groups"]
            for rule in group["rules"]
        }

    def label_values(self, label: str, selector: str) -> list[str]:
        return self._api(f"label/{label}/values", **{"match[]": selector})

    def until(self, come, problem: str, seconds: float = 60) -> None:
        """Ask again and again; Prometheus has no way to tell."""
        deadline = time.monotonic() + seconds
        while not come():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, problem() if callable(problem) else problem
            time.sleep(0.2)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _api(self, path: str, **parameters: str):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)["data"]
