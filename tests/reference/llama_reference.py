"""Small random Llama-type models of transformers."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}


def build_model(seed, family, scale=1.0, **settings):
    """A model with random weights, f32, no dropout. scale multiplies the published initialization (normal, 0.02): larger
    weights give every gradient a size that a fault cannot hide in. Biases and norms are drawn too, because zeros and
    ones would hide a missing term."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(family, bos_token_id=0, eos_token_id=0, **settings)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 2:
                parameter.copy_(noise * 0.02 * scale)
            else:
                parameter.copy_(float(name.endswith("norm.weight")) + noise * 0.1)
    return model
