"""From finished runs to a bundle that can be served."""
