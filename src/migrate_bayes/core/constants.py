"""Constants that more than one room uses."""

from __future__ import annotations

PIVOT_RADIUS = 8.0
"""kpc: the radius of quoted metallicities; gradients are of [Fe/H] against R - PIVOT_RADIUS."""

HEIGHT_OFFSET = 0.2
"""kpc: Z_0 of the height ln(Z_max + Z_0).

A star of any disc may happen to move in the plane: ln Z_max of a normal vertical velocity has a
long tail there, which says nothing of the disc, and a normal law that has to hold it is too broad
above the plane, where the discs differ.
"""

SALARIS_ALPHA, SALARIS_REST = 0.638, 0.362
"""Salaris et al. (1993): [M/H] = [Fe/H] + log10(0.638 · 10^[α/Fe] + 0.362)."""
