"""The planner: task, image and transcript in, one call of the robot API out. llama.cpp is imported on use."""
