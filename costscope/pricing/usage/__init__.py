"""What a call used: one shape for every provider's usage, read from results and from streams."""
