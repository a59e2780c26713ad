"""How fast costscope is, as ratios to floors measured in the same run. `python -m benchmarks`."""

__all__: list[str] = []
