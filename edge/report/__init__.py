"""Reading a run directory back: what happened, how fast it was, and a picture of it."""
