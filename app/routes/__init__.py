"""HTTP routes, one module a resource. Each route declares its cost and authentication with `app.policy.policy`."""
