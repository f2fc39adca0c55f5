"""Writes data/safetensors/: small files of the safetensors package, against which fledge's reader and writer are tested.

Needs: pip install safetensors numpy ml_dtypes
"""

import json
import pathlib

import ml_dtypes
import numpy
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "data" / "safetensors"


def types():
    """One tensor per element type; the values are exact in every type and are repeated in the test."""
    count = numpy.arange(6).reshape(2, 3)
    return {
        "f64": (count - 2.5).astype(numpy.float64),
        "f32": (count - 2.5).astype(numpy.float32),
        "f16": numpy.array([0.0, -0.0, 1.5, -2.0, 65504.0, 2.0**-24, 2.0**-14, numpy.inf], dtype=numpy.float16),
        "bf16": (count * 0.5).astype(ml_dtypes.bfloat16),
        "i64": (count - 3).astype(numpy.int64) * 2**40,
        "i32": (count - 3).astype(numpy.int32),
        "i16": (count - 3).astype(numpy.int16),
        "i8": (count - 3).astype(numpy.int8),
        "u64": count.astype(numpy.uint64),
        "u32": count.astype(numpy.uint32),
        "u16": count.astype(numpy.uint16) + 65000,
        "u8": count.astype(numpy.uint8) + 250,
        "bool": (count % 2 == 1),
        "scalar": numpy.array(7.0, dtype=numpy.float32),
        "empty": numpy.zeros((0, 4), dtype=numpy.float32),
    }


def sharded():
    shards = {
        "model-00001-of-00002.safetensors": {"a": numpy.arange(4, dtype=numpy.float32)},
        "model-00002-of-00002.safetensors": {"b": numpy.arange(4, 8, dtype=numpy.float32)},
    }
    folder = FOLDER / "sharded"
    folder.mkdir(parents=True, exist_ok=True)
    for file, tensors in shards.items():
        save_file(tensors, folder / file, metadata={"format": "pt"})
    index = {
        "metadata": {"total_size": 32},
        "weight_map": {name: file for file, tensors in shards.items() for name in tensors},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


FOLDER.mkdir(parents=True, exist_ok=True)
save_file(types(), FOLDER / "types.safetensors", metadata={"format": "pt"})
sharded()
