"""Measured costs, always as ratios to a baseline in the same process."""
