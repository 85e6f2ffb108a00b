"""Metrics of colors and classifications. No metric knows a bundle."""
