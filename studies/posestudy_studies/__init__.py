"""Studies: the study file, designs and search, presets, and the MMPose config of every trial."""
