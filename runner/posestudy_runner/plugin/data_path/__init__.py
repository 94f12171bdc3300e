"""The fast data path: decoded images kept, then warp, colours and targets of whole batches; equal to MMPose's own."""
