"""Measurements: what a1400 does beside other engines on one machine."""
