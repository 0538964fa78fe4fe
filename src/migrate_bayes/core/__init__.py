"""What every room shares: errors, flags, random numbers, threads, progress, provenance, tables."""
