"""Blind surveys: made from bundles, and counted when people have voted; the service runs them."""
