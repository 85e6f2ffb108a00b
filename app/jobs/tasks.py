"""What the tasks of the queue share."""

RETRY_DELAY = 5.0  # seconds until work is retried that failed for a reason other than itself


class Interrupted(BaseException):
    """Ends a task as a crash would: DBOS stores no outcome of what is not an Exception, and runs the task again later."""
