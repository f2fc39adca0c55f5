"""What the reference scripts share: small random BERT models and their gradients, computed by transformers."""

import torch
import torch.nn.functional as F
from transformers import (BertConfig, BertForMaskedLM, BertForPreTraining, BertForSequenceClassification,
                          BertForTokenClassification, BertModel)

from causal import IGNORE

CLASSES = {kind.__name__: kind for kind in (BertModel, BertForMaskedLM, BertForPreTraining, BertForSequenceClassification,
                                            BertForTokenClassification)}


def build_model(architecture, seed, scale=1.0, **sizes):
    """A model with random weights, f32, no dropout; see gpt2_reference.build_model for `scale`."""
    torch.manual_seed(seed)
    config = BertConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes)
    config._attn_implementation = "eager"
    model = CLASSES[architecture](config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 2:
                parameter.copy_(noise * 0.02 * scale)
            elif "LayerNorm.weight" in name:
                parameter.copy_(1.0 + noise * 0.1)
            else:
                parameter.copy_(noise * 0.1)
    return model


def draw_batch(generator, config, rows, length, ignored):
    """Ids, segments, lengths [rows] (the rest of a row is padding) and targets. Every padded target and `ignored` of the
    others carry IGNORE. No id is 0: PyTorch's Embedding leaves the padding token's row out of the gradient, even where the
    token is no padding."""
    ids = torch.randint(1, config.vocab_size, (rows, length), generator=generator)
    segments = torch.randint(config.type_vocab_size, (rows, length), generator=generator)
    lengths = torch.randint(1, length + 1, (rows,), generator=generator)
    lengths[0] = length
    targets = torch.randint(config.vocab_size, (rows, length), generator=generator)
    targets.view(-1)[torch.randperm(rows * length, generator=generator)[:ignored]] = IGNORE
    targets[mask_of(lengths, length) == 0] = IGNORE
    return ids, segments, lengths, targets


def mask_of(lengths, length):
    return (torch.arange(length)[None, :] < lengths[:, None]).long()


def outputs(model, ids, segments, lengths):
    return model(input_ids=ids, token_type_ids=segments, attention_mask=mask_of(lengths, ids.shape[1]))


def gradients(model, ids, segments, lengths, targets):
    """Loss of the masked tokens, logits and the gradient of every parameter under its name; zeros where the loss does
    not reach it."""
    model.zero_grad(set_to_none=True)
    result = outputs(model, ids, segments, lengths)
    logits = result.logits if hasattr(result, "logits") else result.prediction_logits
    loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1), ignore_index=IGNORE)
    loss.backward()
    found = {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    return loss.detach(), logits.detach(), found


def draw_labels(generator, config, architecture, lengths, length):
    """What a model with labels learns of a batch: [rows], a number each for regression, or [rows, length]."""
    rows = len(lengths)
    if architecture == "BertForTokenClassification":
        labels = torch.randint(config.num_labels, (rows, length), generator=generator)
        labels[torch.rand(rows, length, generator=generator) < 0.3] = IGNORE
        labels[:, 0] = 1
        labels[mask_of(lengths, length) == 0] = IGNORE
        return labels
    if config.num_labels == 1:
        return torch.randn(rows, generator=generator)
    return torch.randint(config.num_labels, (rows,), generator=generator)


def training_loss(model, ids, segments, lengths, labels, next_sentence=None):
    """The loss that transformers itself computes of labels (for masked tokens: of targets)."""
    extra = {} if next_sentence is None else {"next_sentence_label": next_sentence}
    return model(input_ids=ids, token_type_ids=segments, attention_mask=mask_of(lengths, ids.shape[1]),
                 labels=labels.to(next(model.parameters()).dtype) if labels.is_floating_point() else labels, **extra).loss


def label_gradients(model, ids, segments, lengths, labels):
    """Loss of labels and the gradient of every parameter under its name."""
    model.zero_grad(set_to_none=True)
    loss = training_loss(model, ids, segments, lengths, labels)
    loss.backward()
    return loss.detach(), {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
