"""How good the colors and the routing are."""
