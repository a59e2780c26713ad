"""What is known of the models' latest calls."""

from costscope.engine.control.call_stats import LAST, LEAST, MODELS_MAX, RECENT_S, ModelHealth


def test_a_few_calls_say_nothing():
    health = ModelHealth()
    for at in range(LEAST):
        assert health.latency_s("m", at) is None
        assert health.error_percent("m", at) is None
        health.record_call("m", at, 1.0, failed=True)
    assert health.latency_s("m", LEAST) == 1.0
    assert health.error_percent("m", LEAST) == 100


def test_latency_is_the_90th_percentile():
    health = ModelHealth()
    for second in range(1, 11):
        health.record_call("m", 0.0, float(second), failed=False)
    assert health.latency_s("m", 0.0) == 9.0
    assert health.error_percent("m", 0.0) == 0


def test_only_the_latest_calls_count():
    health = ModelHealth()
    for _ in range(LAST):
        health.record_call("m", 0.0, 60.0, failed=True)
    for _ in range(LAST - 8):
        health.record_call("m", 1.0, 0.1, failed=False)
    assert health.error_percent("m", 1.0) == 100 * 8 / LAST
    for _ in range(8):
        health.record_call("m", 1.0, 0.1, failed=False)
    assert (health.error_percent("m", 1.0), health.latency_s("m", 1.0)) == (0, 0.1)


def test_what_is_old_is_forgotten():
    health = ModelHealth()
    for _ in range(LEAST):
        health.record_call("m", 0.0, 60.0, failed=True)
    assert health.error_percent("m", RECENT_S) == 100
    assert health.error_percent("m", RECENT_S + 0.001) is None


def test_each_model_is_for_itself_and_their_number_is_bounded():
    health = ModelHealth()
    for _ in range(LEAST):
        health.record_call("m", 0.0, 1.0, failed=True)
    assert health.error_percent("other", 0.0) is None
    for at in range(MODELS_MAX + 1):
        health.record_call(f"m{at}", 0.0, 1.0, failed=False)
    assert len(health._calls) <= MODELS_MAX
