"""What the reference scripts share: small random GPT-2 models and their gradients, computed by transformers."""

import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel

IGNORE = -100  # a target that takes no part in the loss


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


def draw_batch(generator, rows, length, vocabulary, ignored):
    """Ids and targets [rows, length]; `ignored` of the targets, at random places, carry IGNORE."""
    ids = torch.randint(vocabulary, (rows, length), generator=generator)
    targets = torch.randint(vocabulary, (rows, length), generator=generator)
    places = torch.randperm(rows * length, generator=generator)[:ignored]
    targets.view(-1)[places] = IGNORE
    return ids, targets


def loss_and_logits(model, ids, targets):
    """Mean cross-entropy over the targets that count, and logits [B, T, V]. targets[b, t] is the label at t itself:
    nothing is shifted."""
    logits = model(input_ids=ids).logits
    loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1), ignore_index=IGNORE)
    return loss, logits


def gradients(model, ids, targets):
    """Loss, logits and the gradient of every parameter under its name (the tied head counts into wte)."""
    model.zero_grad(set_to_none=True)
    loss, logits = loss_and_logits(model, ids, targets)
    loss.backward()
    return loss.detach(), logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


def adamw(model, learning_rate=1e-3, weight_decay=0.1):
    """AdamW as GPT-2 is trained: betas 0.9 and 0.95, eps 1e-8, decay on matrices and embeddings alone."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), eps=1e-8)
