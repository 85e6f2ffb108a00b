"""The service on a Ray cluster; needs the extra `scale`."""
