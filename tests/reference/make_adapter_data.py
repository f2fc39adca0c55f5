#!/usr/bin/env python3
"""Writes data/adapters/NAME, adapters that PEFT saved for the tiny models beside them, and NAME_reference.safetensors:
the logits that PEFT computes with each, and ten steps of training it with AdamW (README.md lists the tensors).
Everything is computed in f64 and stored in f32."""

import argparse
import json
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, BertForPreTraining

from causal import draw_batch

STEPS = 10
ADAMW = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
ROWS, LENGTH, IGNORED = 2, 13, 5

# name: base folder, settings. Ranks and scales differ from layer to layer where a pattern says so.
ADAPTERS = {
    "llama_lora": ("llama", dict(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
                                                                      "down_proj"],
                                 rank_pattern={"down_proj": 3, "layers.1.self_attn.q_proj": 2},
                                 alpha_pattern={"gate_proj": 10})),
    "llama_rslora": ("llama", dict(r=4, lora_alpha=3, use_rslora=True,
                                   target_modules=r".*\.layers\.\d+\.(self_attn|mlp)\.(q|k|v|up)_proj")),
    "llama_dora": ("llama", dict(r=4, lora_alpha=6, use_dora=True,
                                 target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"])),
    "llama_tables": ("llama", dict(r=3, lora_alpha=6, target_modules=["embed_tokens", "lm_head"])),
    "gpt2_lora": ("gpt2_gelu_new", dict(r=4, lora_alpha=8, fan_in_fan_out=True,
                                        target_modules=["c_attn", "c_fc", "c_proj", "wpe"])),
    "gpt2_dora": ("gpt2_gelu_new", dict(r=4, lora_alpha=8, fan_in_fan_out=True, use_dora=True,
                                        target_modules=["c_attn", "c_fc", "mlp.c_proj"])),
    "bert_lora": ("bert_pretraining", dict(r=4, lora_alpha=6, target_modules=["query", "value", "dense"])),
}


def base_model(data, folder):
    kind = BertForPreTraining if folder.startswith("bert") else AutoModelForCausalLM
    return kind.from_pretrained(data / folder, attn_implementation="eager").double().eval()


def logits_of(model, ids):
    output = model(input_ids=ids)
    return output.prediction_logits if hasattr(output, "prediction_logits") else output.logits


def draw_adapter(model, generator):
    """Numbers in the place of the zeros with which an adapter begins, and magnitudes away from the norms."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_magnitude_vector" in name:
                parameter.mul_(1.0 + 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            elif "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))


def train(model, ids, targets):
    """Losses of every step before its update, and the gradients of the first and the last one under PEFT's keys."""
    learning = {name.replace(".default", ""): p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        [{"params": [p for name, p in learning.items() if "magnitude" not in name]},
         {"params": [p for name, p in learning.items() if "magnitude" in name], "weight_decay": 0.0}], **ADAMW)
    losses, kept = [], {}
    for step in range(STEPS):
        optimizer.zero_grad()
        logits = logits_of(model, ids)
        loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1), ignore_index=-100)
        loss.backward()
        losses.append(loss.item())
        if step in (0, STEPS - 1):
            kept.update({f"gradients.{step}.{name}": p.grad.clone() for name, p in learning.items()
                         if p.grad is not None})
        optimizer.step()
    return torch.tensor(losses, dtype=torch.float64), kept


def make(data, name, base, settings):
    folder = data / "adapters" / name
    torch.manual_seed(11)
    generator = torch.Generator().manual_seed(12)
    model = get_peft_model(base_model(data, base), LoraConfig(**settings)).double().eval()
    draw_adapter(model, generator)
    model.float().save_pretrained(folder)
    (folder / "README.md").unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    model = PeftModel.from_pretrained(base_model(data, base), folder, is_trainable=True).double().eval()
    ids, targets = draw_batch(torch.Generator().manual_seed(4), ROWS, LENGTH, model.config.vocab_size, IGNORED)
    tensors = {"ids": ids, "targets": targets, "logits": logits_of(model, ids).detach()}
    tensors["losses"], gradients = train(model, ids, targets)
    tensors.update(gradients)
    tensors = {key: value.float().contiguous() if value.is_floating_point() else value for key, value in tensors.items()}
    tensors["losses"] = tensors["losses"].double()
    save_file(tensors, data / "adapters" / f"{name}_reference.safetensors")
    print(f"{name}: losses {tensors['losses'][0]:.4f} to {tensors['losses'][-1]:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name, (base, settings) in ADAPTERS.items():
        make(arguments.out, name, base, settings)


if __name__ == "__main__":
    main()
