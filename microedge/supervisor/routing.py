"""The configuration's routes as the hub takes them: the one place that knows both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from microedge.config.model import Config
from microedge.config.plan import InstancePlan
from microedge.errors import ConfigError, RouteSyntaxError
from microedge.hub.parser import parse
from microedge.hub.route import Route, Sink, Source
from microedge.hub.table import RouteTable

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


def blind_spots(table: RouteTable) -> list[str]:
    """Return a warning when conditions asked for bodies that they could not read."""
    counts = ", ".join(f"{code} {count}" for code, count in sorted(table.undefined_bodies.items()))
    return [f"a WHERE asked for $body where it is undefined: messages by reason: {counts}"] if counts else []


def dead_ends(routes: Sequence[Route], plans: Iterable[InstancePlan]) -> list[str]:
    """Return a warning for each route whose messages would wait for a module or an input that there is not."""
    inputs = {plan.name: plan.image.inputs for plan in plans}
    warnings = []
    for route in routes:
        module, name = route.sink.module, route.sink.input
        if module and module not in inputs:
            warnings.append(f"route {route.name}: there is no module {module}; its messages wait until they expire")
        elif module and name not in inputs[module]:
            known = ", ".join(inputs[module]) or "none"
            warnings.append(f"route {route.name}: module {module} has no input {name}; it has: {known}")
    return warnings
