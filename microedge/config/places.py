"""Where the images are that came with microedge."""

from __future__ import annotations

import os

import microedge


def bundled_modules_dir() -> str:
    """Return the directory of the bundled module images: beside the package's code, or the source tree's `modules/`."""
    package = os.path.dirname(os.path.abspath(microedge.__file__))
    installed = os.path.join(package, "bundled_modules")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "modules")
