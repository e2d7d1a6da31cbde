"""`edge serve`: tasks one after the other for as long as the robot is on, and the commands to it."""
