#!/usr/bin/env python3
"""Writes data/rotary.json: for several forms of a config.json what transformers makes of them, the inverse frequencies
of rotary positions and the factor of their cosines and sines."""

import argparse
import copy
import json
from pathlib import Path

from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}
CASES = {
    "default": (64, 2048, {}),
    "theta": (80, 32768, {"rope_theta": 1000000.0}),
    "new form": (64, 8192, {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}),
    "linear": (64, 4096, {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.5}}),
    "dynamic": (64, 2048, {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}),
    "llama 3.1": (128, 131072, {"rope_theta": 500000.0, "rope_scaling": LLAMA3}),
    "llama 3.2": (64, 131072, {"rope_parameters": {**LLAMA3, "factor": 32.0, "rope_theta": 500000.0}}),
    "yarn": (128, 131072, {"rope_theta": 1000000.0, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}),
    "yarn with all": (48, 4096, {"rope_parameters": {
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 16.0, "original_max_position_embeddings": 256,
        "beta_fast": 20.0, "beta_slow": 2.0, "truncate": False, "mscale": 0.7, "mscale_all_dim": 0.3}}),
    "yarn with a factor": (64, 4096, {"rope_parameters": {
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 1024,
        "attention_factor": 1.25}}),
}


def make(head_size, context, form):
    config = LlamaConfig(hidden_size=4 * head_size, num_attention_heads=4, head_dim=head_size,
                         max_position_embeddings=context, **copy.deepcopy(form))
    embedding = LlamaRotaryEmbedding(config)
    return {"config": form, "head_size": head_size, "context": context,
            "inverse_frequencies": embedding.inv_freq.tolist(), "attention_factor": float(embedding.attention_scaling)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    arguments = parser.parse_args()
    cases = {name: make(*case) for name, case in CASES.items()}
    lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items()]
    (arguments.out / "rotary.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
