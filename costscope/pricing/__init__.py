"""What a call costs: money, prices, what it used and what it can use at most."""
