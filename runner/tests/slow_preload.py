"""A preload that takes as long as torch on a slow disk."""

import time

time.sleep(120)
LOADED = True
