"""Blind surveys: building them from bundles, and counting the votes."""
