"""Constants that more than one room uses."""

from __future__ import annotations

PIVOT_RADIUS = 8.0
"""kpc: the radius of quoted metallicities; gradients are of [Fe/H] against R - PIVOT_RADIUS."""

SALARIS_ALPHA, SALARIS_REST = 0.638, 0.362
"""Salaris et al. (1993): [M/H] = [Fe/H] + log10(0.638 · 10^[α/Fe] + 0.362)."""
