"""edgearm: hierarchical robot policies on the robot. Imports with numpy alone."""
