"""The library: decode a picture, route it, colorize it, encode the result. Pure and synchronous.

Nothing in this package knows HTTP, environment variables or threads. `app` and `training` build on it; it imports neither.
"""
