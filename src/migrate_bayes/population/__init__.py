"""The hierarchical model of gradient(age) with thin and thick discs."""
