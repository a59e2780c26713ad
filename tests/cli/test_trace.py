"""The trace that the demo takes its token counts from."""

from importlib.resources import files

from costscope.cli.trace import TracedCall, load_trace


def test_the_trace_is_whole_and_in_order():
    trace = load_trace()
    assert len(trace) == 8819
    assert trace[0] == TracedCall(context_tokens=4808, generated_tokens=10)
    assert all(call.context_tokens > 0 and call.generated_tokens > 0 for call in trace)


def test_the_trace_is_read_once():
    assert load_trace() is load_trace()


def test_the_attribution_ships_beside_the_data():
    text = (files("costscope.cli.trace") / "README.md").read_text(encoding="utf-8")
    assert "Azure Public Dataset" in text
    assert "CC BY 4.0" in text
