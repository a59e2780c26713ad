"""What a policy of the right shape can still get wrong: budgets that no scope can reach, actions that do nothing."""
