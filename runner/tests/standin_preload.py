"""A preload without torch, for pools whose trials are stand-ins."""

LOADED = True
