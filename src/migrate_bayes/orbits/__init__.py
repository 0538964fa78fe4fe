"""Solar frame, Monte-Carlo draws, potentials, guiding radii and orbit extrema."""
