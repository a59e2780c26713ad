"""Every example runs by itself, as the README says, and prints what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PROMISES = {
    "quickstart.py": ["0.0100048 1.9899952", "limit 20 tool calls, spent 20 tool calls", "tenant-month"],
    "async_agents.py": ["held 0.00", "audit: exact"],
    "callbacks.py": ["spent after it: 0.0000075", "not billed: 0.0000075", "never_fits", "may write"],
    "guard_lifecycle.py": [
        "r-1: completed, cost 0.0303, 2 turns",
        "r-3: failed, cost 0.020927: exhausted tenant-day",
        "models of r-3: gpt-4o-mini 600",
        "unsettled: 1",
        "no tool call is open",
        "of 0.10, held 0",
        "audit: exact",
    ],
    "streaming.py": ["not read yet, held: 0.00", "read to the end, spent: 0.0000066", "held: 0.00"],
    "threads.py": ["a plain executor: unscoped", "99 allowed, 401 refused; spent 1.00"],
    "processes.py": ["allowed: 100 of 4,000 tries; spent 1.00 held 0.00", "audit: exact"],
    "acting_policy.py": [
        "run report-4: completed",
        "has come to 50% of its cost",
        "log: budget tenant-day has passed 50% of its runs",
        "small instead of large: soft_threshold_exceeded",
        "no more than 8 iterations",
        "served by large 8, by small 4; spent 0.0824618",
        "out of control: the same call was made 5 times",
        "run lost: halted",
        "limit 3 runs, spent 3 runs",
    ],
    "custom_prices.py": ["three pages: 0.0065028", "computed price: 0.0066028", "no price is known"],
}


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_runs_in_any_folder_and_prints_what_it_promises(name, tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COSTSCOPE_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for promise in PROMISES[name]:
        assert promise in done.stdout


def test_the_quickstart_is_the_same_code_in_the_readme_and_in_the_example():
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    quickstart = next(block for block in blocks if "@metered_model" in block)
    assert quickstart in (EXAMPLES / "quickstart.py").read_text(encoding="utf-8")


def test_the_policy_in_the_readme_is_that_of_the_examples():
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    [policy] = re.findall(r"^```yaml\n# budgets.yaml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert policy in (EXAMPLES / "budgets.yaml").read_text(encoding="utf-8")
