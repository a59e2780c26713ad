"""The trace that the demo takes its token counts from: a part of the one that the tests replay."""

from importlib.resources import files

import pytest
from azure_trace import FOLDER, requests

from costscope.cli.demo.agents import TracedCall, load_trace

DEMO = files("costscope.cli.demo")


def test_the_whole_trace_is_whole_and_in_order():
    trace = requests()
    assert len(trace) == 8819
    assert (trace[0].context, trace[0].generated) == (4808, 10)
    assert [one.at_s for one in trace] == sorted(one.at_s for one in trace)
    assert all(one.context > 0 and one.generated > 0 for one in trace)


def test_the_demo_has_every_sixteenth_of_its_requests_in_the_order_they_arrived():
    trace = load_trace()
    assert len(trace) == 552
    assert trace[0] == TracedCall(context_tokens=4808, generated_tokens=10)
    assert list(trace) == [(one.context, one.generated) for one in requests()[::16]]


def test_the_part_is_small():
    assert len((DEMO / "trace.csv").read_bytes()) < 5000


def test_the_trace_is_read_once():
    assert load_trace() is load_trace()


@pytest.mark.parametrize("folder", [DEMO, FOLDER])
def test_the_attribution_ships_beside_the_data(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "Azure Public Dataset" in text
    assert "CC BY 4.0" in text
