"""`python -m microedge` is the same as the `microedge` command."""

from __future__ import annotations

import sys

from microedge.cli.main import main

sys.exit(main())
