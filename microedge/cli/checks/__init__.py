"""What `microedge check` looks at: one file per subject, each with `find(surroundings) -> list of Outcome`.

A new check is a new file here and its name in ORDER; a person reads them in this order.
"""

from __future__ import annotations

ORDER = (
    "configuration",
    "python",
    "modules",
    "permissions",
    "disk",
    "twins",
    "serial_ports",
    "clock",
    "upstream",
    "isolation",
    "supervisor",
)
