"""Evaluation of a bundle on pictures with known colors."""
