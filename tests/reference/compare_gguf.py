"""Compares a GGUF file with the Hugging Face folder that fledge made of it, or that it was made from.

    python compare_gguf.py FILE.gguf FOLDER

Reads the file with the gguf package and checks that every tensor has the folder's values (f32 and bf16: the same bits;
quantized: the folder holds the dequantized values), and that transformers opens the folder and its tokenizer.

Needs: pip install gguf transformers torch safetensors numpy
"""

import pathlib
import sys

import gguf
import numpy
import torch
import transformers
from safetensors.torch import load_file

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def folder_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{NAMES[parts[2]]}.{parts[3]}"
    return f"{NAMES[parts[0]]}.{parts[1]}"


def paired(values, heads):
    return values.reshape(heads, 2, values.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)


def main():
    file, folder = gguf.GGUFReader(sys.argv[1]), pathlib.Path(sys.argv[2])
    config = transformers.AutoConfig.from_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    permuted = file.fields["general.architecture"].contents() == "llama"
    for tensor in file.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        expected = weights.pop(folder_name(tensor.name)).to(torch.float32).numpy()
        if permuted and ".attn_q." in tensor.name:
            expected = paired(expected, config.num_attention_heads)
        if permuted and ".attn_k." in tensor.name:
            expected = paired(expected, config.num_key_value_heads)
        if not numpy.array_equal(values, expected):
            sys.exit(f"{tensor.name}: differs by up to {numpy.abs(values - expected).max()}")
    if weights:
        sys.exit(f"the file lacks {sorted(weights)}")
    transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    print(f"{len(file.tensors)} tensors are equal; transformers opens the folder; tokens of 'Hello 2026!':",
          tokenizer("Hello 2026!").input_ids)


if __name__ == "__main__":
    main()
