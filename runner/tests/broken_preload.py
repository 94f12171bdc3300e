"""A preload that cannot be imported, whose ImportError CPython's forkserver swallows."""

import a_package_that_does_not_exist  # noqa: F401

LOADED = True
