"""Runs of recipes: training them, loading their checkpoints, their plots and summaries."""
