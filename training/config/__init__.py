"""Recipes: the options of experiments, as TOML files that are validated strictly."""
