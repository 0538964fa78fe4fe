"""Isochrone files of every family, as one `IsochroneSource`."""
