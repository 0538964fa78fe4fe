"""The compiled age likelihood, on plain arrays."""
