"""Isochrone grids, photometry, the segment likelihood and age posteriors."""
