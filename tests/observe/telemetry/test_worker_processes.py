"""Short worker processes export what they have counted: also those that leave without `atexit`."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import metric_workers
import pytest
from metric_workers import exported, set_up, spend, spend_and_wait, spend_unscoped

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

METHODS = multiprocessing.get_all_start_methods()


@pytest.mark.parametrize("takes_s", [0.0, 0.05], ids=["at once", "50 ms"])
@pytest.mark.parametrize("method", METHODS)
def test_a_pool_exports_everything(method, takes_s, tmp_path):
    """20 scopes of 0.01, each recorded long before the next flush would be due."""
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(
        2, mp_context=context, initializer=set_up, initargs=(str(tmp_path), takes_s)
    ) as pool:
        for job in [pool.submit(spend) for _ in range(20)]:
            job.result(60)
    assert sum(exported(tmp_path).values()) == pytest.approx(0.20)


@pytest.mark.parametrize("method", METHODS)
def test_a_process_exports_a_call_outside_every_scope(method, tmp_path):
    process = multiprocessing.get_context(method).Process(target=spend_unscoped, args=(str(tmp_path), 0.05))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert sum(exported(tmp_path).values()) == pytest.approx(0.01)


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_turns_sigterm_into_an_exit_exports_everything(method, tmp_path):
    context = multiprocessing.get_context(method)
    ready = context.Event()
    process = context.Process(target=spend_and_wait, args=(str(tmp_path), ready))
    process.start()
    assert ready.wait(60)
    for _ in range(
        3
    ):  # Python loses what a signal handler raises within a finalizer: ask again, as supervisors do
        process.terminate()
        process.join(25)
        if process.exitcode is not None:
            break
    assert process.exitcode == 0
    assert sum(exported(tmp_path).values()) == pytest.approx(0.02)


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from metric_workers import provide
from until import until
import costscope
from costscope.scope.runtime import services_of

runtime = costscope.configure(store="memory://", unscoped="allow")
provide(sys.argv[2])  # its last export is registered after everything of the runtime's
tool = costscope.metered_tool("t", price="0.01")(lambda: None)
tool()
until(lambda: not services_of(runtime).telemetry._flusher._pending)
tool()  # within a second of the one before
"""


def test_a_program_that_ends_exports_its_calls_outside_every_scope(tmp_path):
    support = Path(metric_workers.__file__).parent
    subprocess.run([sys.executable, "-c", PROGRAM, str(support), str(tmp_path)], check=True, timeout=60)
    assert sum(exported(tmp_path).values()) == pytest.approx(0.02)
