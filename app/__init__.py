"""The service: a thin layer of HTTP and command line over `models`; never knows `training`."""
