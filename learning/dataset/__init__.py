"""Demonstrations on disk: a writer and a reader of the LeRobotDataset v3.0 layout.

workers:   DatasetWriter(root, worker=k).add(Episode(...)) ... .close()      one process each, no lock between them
once:      finish(root)                                                      numbers everything, writes meta/
training:  build_cache(root, out, size=96) -> Cache                          decoded frames as memory maps
"""

from __future__ import annotations

from learning.dataset.cache import Cache, build_cache, open_cache
from learning.dataset.episode import DatasetError, Episode
from learning.dataset.finish import finish
from learning.dataset.writer import DatasetWriter

__all__ = ["Cache", "DatasetError", "DatasetWriter", "Episode", "build_cache", "finish", "open_cache"]
