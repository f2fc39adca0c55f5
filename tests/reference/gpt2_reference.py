"""What the reference scripts of GPT-2 share: small random models and their optimizer."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel


def build_model(seed, scale=1.0, **sizes):
    """A GPT2LMHeadModel with random weights, f32, no dropout.

    scale multiplies the published initialization (normal, 0.02): larger weights give every gradient a size that a
    fault cannot hide in. Biases and LayerNorms are drawn too, because zeros and ones would hide a missing term.
    """
    torch.manual_seed(seed)
    config = GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0, **sizes)
    model = GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 2:
                parameter.copy_(noise * 0.02 * scale)
            elif ".ln_" in name and name.endswith("weight"):
                parameter.copy_(1.0 + noise * 0.1)
            else:
                parameter.copy_(noise * 0.1)
    return model


def adamw(model, learning_rate=1e-3, weight_decay=0.1):
    """AdamW as GPT-2 is trained: betas 0.9 and 0.95, eps 1e-8, decay on matrices and embeddings alone."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), eps=1e-8)
