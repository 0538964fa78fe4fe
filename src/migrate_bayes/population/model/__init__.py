"""The hierarchical model above θ, in ordinary PyMC."""
