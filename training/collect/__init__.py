"""Collecting photographs from public sources, with license and author."""
