"""Designs: how a stage makes its cells. Each is an entry point of the group `posestudy.designs`."""
