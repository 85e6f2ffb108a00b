"""The product: a black-and-white picture in, a routed and coloured picture out. Pure and synchronous.

Nothing here knows HTTP, environment variables or threads, nor the packages `app` and `training`, which both build on it.
"""
