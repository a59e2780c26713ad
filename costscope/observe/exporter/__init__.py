"""`costscope exporter`: the state of every budget as Prometheus metrics, read from the store when it is scraped.

One process, or one replica of one, serves a whole ledger: the books are in the store, so nothing is gained by asking
each worker. Flows (calls, tokens, cost by model) are the workers' own OpenTelemetry metrics.

`grouping` and `series` are pure: from a snapshot to samples. `reading` looks into the store, `server` hands the samples
to Prometheus; only this one needs the extra `prometheus`.
"""
