"""Results from elsewhere: logs of MMPose and tables become trials of a study."""
