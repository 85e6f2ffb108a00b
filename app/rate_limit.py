"""A limit on requests in a moving window of a minute, in this process."""

import time
from collections import defaultdict, deque
from threading import Lock

WINDOW = 60.0  # seconds


class RateLimit:
    """Counts what happened in the last minute, by name. The clock of the system may be set forward or back meanwhile."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = defaultdict(deque)
        self._lock = Lock()

    def seconds_to_wait(self, name: str, per_minute: int) -> float:
        """Count an event; 0 if it is within the rate, or else the seconds until the next one is, and it is not counted."""
        now = time.monotonic()
        with self._lock:
            times = self._times[name]
            while times and times[0] <= now - WINDOW:
                times.popleft()
            if len(times) >= per_minute:
                return times[-per_minute] + WINDOW - now
            times.append(now)
            return 0.0
