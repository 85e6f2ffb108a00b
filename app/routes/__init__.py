"""HTTP routes, one module per resource. Each route declares its cost and authentication with `app.policy.policy`."""
