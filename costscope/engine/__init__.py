"""What happens to a call, a run and an iteration: nouns in `state`, procedures beside it."""
