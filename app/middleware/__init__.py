"""ASGI middleware: route policies, access log, authentication, body limit, admission, slow clients, deadline."""
