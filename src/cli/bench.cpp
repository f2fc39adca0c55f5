#include "cli/bench.h"

#include <memory>

#include "cli/common.h"
#include "cli/sampling_options.h"

namespace fledge::cli {

void add_bench_command(Verb app, Context& context) {
  auto options = std::make_shared<BenchOptions>();
  Verb verb = add_verb(app, context, "bench", "Measures the speed of this machine beside its measured peak.",
                       "fledge bench train --batch 8 --seq 512 --dtype bf16\nfledge bench matmul --json");
  verb.group("Measure");
  verb.add_option("WHAT", options->what, "matmul, train, generate or encode")
      .required()
      .one_of({"matmul", "train", "generate", "encode"});
  verb.add_option("--model", options->model,
                  "A config.json, or a model; generate then uses its weights (default: GPT-2's 124M shape)")
      .type_name("CONFIG|DIR")
      .group("Model");
  verb.add_option("--beside", options->beside, "encode: a second encoder, which takes turns with the first")
      .type_name("CONFIG")
      .group("Model");
  verb.add_option("--lora", options->lora, "train: only a LoRA of this rank, over a model with weights")
      .type_name("RANK")
      .in_range(int64_t{1}, int64_t{1} << 16)
      .group("Model");
  verb.add_option("--adapter", options->adapters,
                  "generate: the sequences go through these adapters in turn, beside the base alone (repeatable)")
      .type_name("DIR")
      .group("Model");
  add_precision_option(verb, options->precision, "auto");
  verb.add_option("--weights", options->weights, "matmul: block-quantized weights instead, of this type")
      .one_of({"q8_0", "q4_0", "q4_1", "q4_k", "q6_k"})
      .type_name("TYPE")
      .group("Model");
  const auto add = [&](const char* name, auto& value, const char* type_name, const char* help) {
    verb.add_option(name, value, help).type_name(type_name).in_range(int64_t{1}, int64_t{1} << 31).group("Work");
  };
  add("--batch", options->batch, "B", "Sequences at once (default: 8; 1 to generate and to encode)");
  add("--seq", options->sequence_length, "T", "Tokens in a sequence, or in a prompt (default: 512)");
  add("--steps", options->steps, "N", "Steps to measure, or tokens to generate (default: 10; 128)");
  add_json_option(verb, options->json, "The numbers as one JSON object");
  verb.callback([options, &context] { context.run = [options, &context] { run_bench(*options, context.common); }; });
}

}  // namespace fledge::cli
