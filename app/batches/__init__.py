"""Several pictures in one request: uploads, output names, and the streamed ZIP archive of results."""
