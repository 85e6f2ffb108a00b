"""The commands of `chromaroute-train`."""
