#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct BenchOptions {
  std::string what;              ///< "matmul", "train", "generate", "encode"
  std::string model;             ///< config.json, folder or file; empty: GPT-2 124M
  std::string beside;            ///< of encode: the config.json of a second encoder that takes turns; empty: none
  std::optional<int64_t> batch;  ///< nothing: 8 to train, 1 to generate and to encode
  int64_t sequence_length = 512;
  std::string precision = "auto";
  std::optional<int64_t> lora;        ///< of train: rank of an adapter over a frozen model
  std::vector<std::string> adapters;  ///< of generate: folders; sequences take them in turn
  std::string weights;                ///< of matmul: the name of a block type; empty: as `precision` says
  std::optional<int64_t> steps;       ///< nothing: 10, or 128 tokens to generate
  bool json = false;
};

void add_bench_command(Verb app, Context& context);

/// Tokens/s, model FLOP/s, share of the peak measured on the spot, peak memory.
void run_bench(const BenchOptions& options, const CommonOptions& common);

/// The part of it that reads prompts and makes text.
void bench_generate(const BenchOptions& options);

/// The part of it that reads texts with an encoder.
void bench_encode(const BenchOptions& options);

}  // namespace fledge::cli
