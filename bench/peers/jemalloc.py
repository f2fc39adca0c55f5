"""jemalloc for PyTorch, whose own way with large blocks costs it some 10 % here."""

from pathlib import Path

# At its best for large tensors: never give memory back, huge pages. Its defaults return every large block.
TUNED = "oversize_threshold:0,dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always"


def find():
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"):
        path = Path(folder) / "libjemalloc.so.2"
        if path.exists():
            return path
    raise SystemExit("libjemalloc.so.2 was not found; on Debian: apt-get install libjemalloc2")
