"""Compiled orbit integration, on plain arrays."""
