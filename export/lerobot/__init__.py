"""LeRobot's `diffusion` and `act` policies, rebuilt so that a checkpoint of theirs can be exported without LeRobot."""
