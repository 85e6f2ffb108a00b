"""Durable background jobs: the queue, the store on the disk, and the heartbeats of replicas."""
