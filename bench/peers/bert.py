"""BERT for masked tokens in PyTorch, written for speed: fused attention, one matrix for query, key and value, and a head
that sees the masked places alone.

The functions take the same config.json as fledge does."""

import json

import torch
import torch.nn as nn
import torch.nn.functional as F


def read_config(path):
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    if config.get("hidden_act", "gelu") != "gelu":
        raise SystemExit(f"{path}: this peer knows the exact gelu alone")
    return config


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, inner, epsilon = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        self.heads = config["num_attention_heads"]
        self.attention, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm_1, self.norm_2 = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)

    def forward(self, x):
        b, t, c = x.shape
        qkv = self.attention(x).view(b, t, 3, self.heads, c // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        x = self.norm_1(x + self.projection(mixed.transpose(1, 2).reshape(b, t, c)))
        return self.norm_2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, epsilon = config["hidden_size"], config["layer_norm_eps"]
        self.tokens = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["max_position_embeddings"], width)
        self.segments = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, epsilon)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))
        self.transform, self.transform_norm = nn.Linear(width, width), nn.LayerNorm(width, epsilon)
        self.bias = nn.Parameter(torch.zeros(config["vocab_size"]))
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, 0.0, config["initializer_range"])

    def forward(self, ids, masked_rows, targets):
        """Mean cross-entropy of targets [N] at the places masked_rows [N] of ids [B, T], counted over all rows."""
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]] + self.segments.weight[0]
        x = self.norm(x)
        for block in self.blocks:
            x = block(x)
        x = x.reshape(-1, x.shape[-1]).index_select(0, masked_rows)
        x = self.transform_norm(F.gelu(self.transform(x)))
        return F.cross_entropy(F.linear(x, self.tokens.weight, self.bias), targets)
