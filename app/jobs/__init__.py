"""Durable background jobs: the queue, the store on the disk, and what keeps replicas going."""
