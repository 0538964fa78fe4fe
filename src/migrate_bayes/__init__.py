"""Hierarchical Bayesian metallicity gradients with stellar age."""
