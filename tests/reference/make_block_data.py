"""Writes data/blocks.safetensors: block-quantized rows and their values by the gguf package.

For q8_0, q4_0, q4_1 and q5_0, `TYPE.blocks` are the bytes that the package makes from `values`; for q4_k and q6_k, which it
only reads, they are random bytes with plausible scales. `TYPE.values` is what the package reads from the blocks.

Needs: pip install gguf safetensors numpy
"""

import pathlib

import gguf
import numpy
from safetensors.numpy import save_file

PATH = pathlib.Path(__file__).parent / "data" / "blocks.safetensors"


def make_values(generator):
    """Rows of 512: normal, heavy tails, tiny, one-sided, zeros, ties of rounding and of the largest magnitude."""
    rows = generator.standard_normal((6, 512)).astype(numpy.float32)
    rows[1] = rows[1] ** 3 * 0.02
    rows[2] *= 1e-6
    rows[3] = numpy.abs(rows[3]) + 1
    rows[4, :256] = 0
    rows[4, 256:] = numpy.arange(-128, 128) * 0.5
    rows[5] = numpy.sign(rows[5]) * 0.25
    return rows


def random_blocks(generator, size, scales):
    """Blocks of random bytes; the f16 numbers at the offsets `scales` are drawn from a range of sizes."""
    blocks = generator.integers(0, 256, (8, size), dtype=numpy.uint8)
    for offset in scales:
        numbers = (generator.standard_normal(8) * 10.0 ** generator.integers(-5, 1, 8)).astype(numpy.float16)
        blocks[:, offset : offset + 2] = numbers.view(numpy.uint8).reshape(8, 2)
    return blocks.reshape(1, -1)


def main():
    generator = numpy.random.default_rng(7)
    values = make_values(generator)
    types = gguf.GGMLQuantizationType
    tensors = {"values": values}
    for name, kind in (("q8_0", types.Q8_0), ("q4_0", types.Q4_0), ("q4_1", types.Q4_1), ("q5_0", types.Q5_0)):
        tensors[f"{name}.blocks"] = gguf.quants.quantize(values, kind)
        tensors[f"{name}.values"] = gguf.quants.dequantize(tensors[f"{name}.blocks"], kind)
    for name, kind, size, scales in (("q4_k", types.Q4_K, 144, (0, 2)), ("q6_k", types.Q6_K, 210, (208,))):
        tensors[f"{name}.blocks"] = random_blocks(generator, size, scales)
        tensors[f"{name}.values"] = gguf.quants.dequantize(tensors[f"{name}.blocks"], kind)
    # The tests read bytes as f32, whole numbers.
    tensors = {name: tensor.astype(numpy.float32) for name, tensor in tensors.items()}
    save_file(tensors, PATH)


if __name__ == "__main__":
    main()
