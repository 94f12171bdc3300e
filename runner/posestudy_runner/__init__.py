"""Runner: devices, the worker pool, trial processes, and what MMPose lacks (`posestudy_runner.plugin`)."""
