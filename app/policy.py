"""What a route declares about itself for the middleware: whether it needs an API key, what it costs, and what it expects.

A route is decorated with `policy`, below the decorator of its router:

    @router.post("/colorize")
    @policy(cost=Cost.PICTURE, expects=EXPECTED_FILE)
    async def colorize(...): ...
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, TypeVar

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Cost(Enum):
    """What a request to a route costs the server."""

    FREE = auto()
    PICTURE = auto()  # one picture, answered before the deadline
    BATCH = auto()  # several pictures, without a deadline; fewer requests of this kind run at a time
    DOWNLOAD = auto()  # a streamed response, whatever the method
    VOTE = auto()  # a small body, for a survey


@dataclass(frozen=True)
class RoutePolicy:
    """The declaration of a route.

    Args:
        requires_key: whether an API key is needed, where the server has any.
        requires_admin: whether that must be the key of an administrator.
        cost: the kind of work that a request causes.
        expects: what to send, for the message about an invalid request.
        path: the path of the route, for logs and metrics; set when a request is matched.
    """

    requires_key: bool = True
    requires_admin: bool = False
    cost: Cost = Cost.FREE
    expects: str = "see /docs for what the request must contain."
    path: str = "other"

    def takes_place(self, method: str) -> bool:
        """Whether a request with this method is one of those whose number is limited."""
        return self.cost is Cost.DOWNLOAD or (self.cost is not Cost.FREE and method == "POST")


UNMATCHED = RoutePolicy(requires_key=False)  # for paths without a route, which are answered with 404


def policy(
    *, requires_key: bool = True, requires_admin: bool = False, cost: Cost = Cost.FREE, expects: str = RoutePolicy.expects
) -> Callable[[Endpoint], Endpoint]:
    """Declare the policy of an endpoint; endpoints without a declaration need a key and are free."""

    def declare(endpoint: Endpoint) -> Endpoint:
        endpoint.policy = RoutePolicy(requires_key, requires_admin, cost, expects)  # type: ignore[attr-defined]
        return endpoint

    return declare


def find_policy(routes: Iterable[BaseRoute], scope: Scope) -> RoutePolicy:
    """The policy of the route that a request matches; a wrong method counts as a match."""
    for route in routes:
        match, _ = route.matches(scope)
        if match is not Match.NONE:
            declared = getattr(getattr(route, "endpoint", None), "policy", RoutePolicy())
            return replace(declared, path=getattr(route, "path", RoutePolicy.path))
    return UNMATCHED
