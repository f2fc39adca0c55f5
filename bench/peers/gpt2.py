"""GPT-2 in PyTorch, written for speed: fused attention, one matrix for query, key and value, tied head.

The functions take the same config.json as fledge does."""

import json

import torch
import torch.nn as nn
import torch.nn.functional as F


def read_config(path):
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    if config.get("activation_function", "gelu_new") != "gelu_new":
        raise SystemExit(f"{path}: this peer knows gelu_new alone")
    return config


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, epsilon = config["n_embd"], config.get("layer_norm_epsilon", 1e-5)
        inner = config.get("n_inner") or 4 * width
        self.heads = config["n_head"]
        self.dropout = config.get("resid_pdrop", 0.0)
        self.attention_dropout = config.get("attn_pdrop", 0.0)
        self.ln_1, self.ln_2 = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)
        self.attention, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x, mask):
        b, t, c = x.shape
        qkv = self.attention(self.ln_1(x)).view(b, t, 3, self.heads, c // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=mask is None)
        x = x + F.dropout(self.projection(mixed.transpose(1, 2).reshape(b, t, c)), self.dropout, self.training)
        h = self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))
        return x + F.dropout(h, self.dropout, self.training)


class GPT2(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, layers = config["n_embd"], config["n_layer"]
        self.dropout = config.get("embd_pdrop", 0.0)
        self.tokens = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["n_positions"], width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width, config.get("layer_norm_epsilon", 1e-5))
        deviation = config.get("initializer_range", 0.02)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:  # the projections into the residual stream start smaller (GPT-2, section 2.3)
                into_residual = ".projection." in name or ".down." in name
                nn.init.normal_(parameter, 0.0, deviation / (2 * layers) ** 0.5 if into_residual else deviation)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids, targets, positions=None, mask=None):
        """Mean cross-entropy of targets [B, T] (-100 takes no part) after ids [B, T]. positions default to 0, 1, ...;
        a mask [B, 1, T, T] replaces the causal one."""
        positions = self.positions.weight[: ids.shape[1]] if positions is None else self.positions(positions)
        x = self.tokens(ids) + positions
        x = F.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x, mask)
        logits = F.linear(self.ln_f(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=-100)


def adamw(model, learning_rate, betas=(0.9, 0.95), epsilon=1e-8, weight_decay=0.1):
    """Fused AdamW; decay on matrices and embeddings, none on biases and norms."""
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=epsilon, fused=True)
