"""Writes data/gguf/: small files of the gguf package, against which fledge's reader and writer are tested.

types.gguf has a value of every metadata type and a tensor of every type that fledge reads (and one that it only lists); types_values.safetensors has the tensors' values as the gguf package dequantizes them.

Needs: pip install gguf safetensors numpy
"""

import pathlib

import gguf
import numpy
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "data" / "gguf"


def random_k_blocks(random, rows, blocks, layout):
    """Blocks of bytes whose f16 scales are small numbers; `layout` is (bytes, offsets of the scales)."""
    size, offsets = layout
    data = random.integers(0, 256, (rows, blocks, size), dtype=numpy.uint8)
    for offset in offsets:
        scales = (random.random((rows, blocks, 1)) * 0.01).astype(numpy.float16)
        data[:, :, offset : offset + 2] = scales.view(numpy.uint8)
    return data.reshape(rows, blocks * size)


def add_metadata(writer):
    writer.add_uint8("test.u8", 250)
    writer.add_int8("test.i8", -3)
    writer.add_uint16("test.u16", 65000)
    writer.add_int16("test.i16", -30000)
    writer.add_uint32("test.u32", 4000000000)
    writer.add_int32("test.i32", -2000000000)
    writer.add_uint64("test.u64", 2**63 + 1)
    writer.add_int64("test.i64", -(2**62))
    writer.add_float32("test.f32", 0.1)
    writer.add_float64("test.f64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "Grüße, 世界")
    writer.add_array("test.strings", ["a", "", "\u0120b"])
    writer.add_array("test.integers", [3, -1, 2])
    writer.add_array("test.reals", [0.5, -2.0])


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    random = numpy.random.default_rng(5)
    writer = gguf.GGUFWriter(str(FOLDER / "types.gguf"), "test")
    add_metadata(writer)
    values = {}
    wide = random.standard_normal((3, 64)).astype(numpy.float32)
    for kind in (Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1):
        name = kind.name.lower()
        raw = wide if kind == Type.F32 else gguf.quants.quantize(wide, kind)
        writer.add_tensor(name, raw, raw_dtype=kind)
        values[name] = gguf.quants.dequantize(raw, kind).astype(numpy.float32)
    for kind, layout in ((Type.Q4_K, (144, (0, 2))), (Type.Q6_K, (210, (208,))), (Type.Q5_K, (176, (0, 2))),
                         (Type.Q2_K, (84, (80, 82))), (Type.Q3_K, (110, (108,)))):
        raw = random_k_blocks(random, 2, 1, layout)
        writer.add_tensor(kind.name.lower(), raw, raw_dtype=kind)
        values[kind.name.lower()] = gguf.quants.dequantize(raw, kind).astype(numpy.float32)
    writer.add_tensor("iq4_nl", random.integers(0, 256, (2, 36), dtype=numpy.uint8), raw_dtype=Type.IQ4_NL)
    writer.add_tensor("vector", numpy.arange(5, dtype=numpy.float32))
    values["vector"] = numpy.arange(5, dtype=numpy.float32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(values, FOLDER / "types_values.safetensors")


if __name__ == "__main__":
    main()
