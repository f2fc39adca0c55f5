#pragma once

#include <cstdint>
#include <string>

namespace CLI {
class App;
}

namespace fledge::cli {

struct Context;
struct CommonOptions;

struct BenchOptions {
  std::string what;   ///< "matmul", "train", "generate"
  std::string model;  ///< config.json or folder; empty: GPT-2 124M
  int64_t batch = 8;
  int64_t sequence_length = 512;
  std::string precision = "auto";
  int64_t steps = 10;
  bool json = false;
};

void add_bench_command(CLI::App& app, Context& context);

/// Tokens/s, model FLOP/s, share of the peak measured on the spot, peak memory.
void run_bench(const BenchOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
