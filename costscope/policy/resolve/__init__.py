"""From a policy to the accounts of a scope."""
