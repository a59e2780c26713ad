"""Over HTTP, as Prometheus asks."""

import socket
import urllib.request

import pytest

from costscope.errors import InvalidInput
from costscope.observe.exporter.grouping import Grouping
from costscope.observe.exporter.reading import Reader

pytest.importorskip("prometheus_client", reason="the extra `prometheus` is not installed")


@pytest.fixture
def serve(store):
    from costscope.observe.exporter.server import ExporterServer

    servers = []

    def start(host="127.0.0.1", port=0):
        servers.append(ExporterServer(Reader(store, Grouping()), host, port))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def scrape(url, accept="text/plain"):
    with urllib.request.urlopen(
        urllib.request.Request(url, headers={"Accept": accept}), timeout=10
    ) as answer:
        return answer.read().decode()


def test_a_scrape_parses_and_has_every_metric_with_its_help(serve):
    from prometheus_client.parser import text_string_to_metric_families

    found = {family.name: family for family in text_string_to_metric_families(scrape(serve().url))}
    assert found["costscope_budget_spent"].samples[0].value == 0.1
    assert found["costscope_events"].type == "counter"
    assert {family.type for name, family in found.items() if name != "costscope_events"} == {"gauge"}
    assert all(family.documentation for family in found.values())
    assert "python_info" not in found, "what the library's default registry holds is not asked for"


def test_prometheus_asks_for_open_metrics(serve):
    text = scrape(serve().url, "application/openmetrics-text; version=1.0.0")
    assert 'costscope_events_total{type="runaway"} 0.0' in text
    assert text.endswith("# EOF\n")


def test_a_store_that_is_away_is_an_answer_and_not_an_error(serve, store):
    store.trouble = OSError("gone")
    assert "costscope_exporter_up 0.0" in scrape(serve().url)


def test_a_port_that_is_taken_is_an_error_with_a_remedy(serve):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=rf"port {port} of 127.0.0.1 is taken .*--port"):
            serve(port=port)


def test_two_exporters_do_not_share_a_port(serve):
    port = int(serve().url.split(":")[-1].split("/")[0])
    with pytest.raises(InvalidInput, match="taken"):
        serve(port=port)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_cannot_be_had_is_an_error_with_a_remedy(serve, host, port):
    with pytest.raises(InvalidInput, match="--host is an address of this machine"):
        serve(host, port)


def test_it_listens_on_ipv6_too(serve):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    url = serve("::1").url
    assert url.startswith("http://[::1]:")
    assert "costscope_exporter_up 1.0" in scrape(url)


def test_a_closed_server_gives_its_port_back(serve, store):
    from costscope.observe.exporter.server import ExporterServer

    first = ExporterServer(Reader(store, Grouping()), port=0)
    port = int(first.url.split(":")[-1].split("/")[0])
    first.close()
    assert f":{port}/" in serve(port=port).url
