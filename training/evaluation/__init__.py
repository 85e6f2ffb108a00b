"""How good the colours and the routing are."""
