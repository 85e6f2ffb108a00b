"""Schedules pictures on the ensemble."""
