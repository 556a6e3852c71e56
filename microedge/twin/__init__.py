"""The module twin: a JSON document of an instance, as pure code."""
