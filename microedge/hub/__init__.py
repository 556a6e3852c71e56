"""Who talks to whom: routes, sessions and inputs, as pure code."""
