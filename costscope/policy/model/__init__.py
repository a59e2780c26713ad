"""What a policy says, as frozen structs."""
