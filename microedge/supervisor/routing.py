"""The configuration's routes as the hub takes them: the one place that knows both."""

from __future__ import annotations

from microedge.config.model import Config
from microedge.errors import ConfigError, RouteSyntaxError
from microedge.hub.parser import parse
from microedge.hub.route import Route, Sink, Source

_EVERYTHING = Route("everything", "FROM /messages/* INTO $upstream", Source(), Sink())


def routes_of(config: Config) -> list[Route]:
    """Return the configured routes; without a [routes] table, everything goes upstream.

    Raises:
        ConfigError: a route does not follow the grammar; names the line in the file and the column in the route.
    """
    if not config.has_routes:
        return [_EVERYTHING]
    routes = []
    for route in config.routes:
        try:
            routes.append(parse(route.name, route.text, priority=route.priority, ttl_s=route.ttl_s))
        except RouteSyntaxError as error:
            expected = f"{error.expected}, at column {error.column} of the route"
            raise ConfigError(config.file, route.line, f"[routes] {route.name}", route.text, expected) from error
    return routes
