"""The web service and the command line: HTTP, jobs and settings on top of `models`. Never imports `training`."""
