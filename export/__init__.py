"""From trained checkpoints to the files a robot runs; `python -m export --help` lists the steps."""
