"""Photographs on their way into training: a manifest of them, packs of pixels, batches."""
