#include "cli/sampling_options.h"

#include <fmt/format.h>

#include "cli/verb.h"

namespace fledge::cli {

void add_precision_option(Verb verb, std::string& precision, const std::string& fallback) {
  precision = fallback;
  verb.add_option("--dtype", precision,
                  fmt::format("Arithmetic: auto (bf16 where it is faster), bf16 or f32 (default: {})", fallback))
      .type_name("TYPE")
      .one_of({"auto", "bf16", "f32"})
      .group("Model");
}

void add_sampling_options(Verb verb, SamplingOptions& options) {
  const auto add = [&](const char* names, auto& value, const char* type_name, const char* help) {
    return verb.add_option(names, value, help).type_name(type_name).group("Sampling");
  };
  add("-n,--max-tokens", options.max_tokens, "N", "Tokens to write at most (default: 256)")
      .in_range(int64_t{1}, int64_t{1} << 40);
  add("--temperature", options.temperature, "T", "Evenness of the choice; 0 takes the likeliest token (default: 0.8)")
      .in_range(0.0, 100.0);
  add("--top-k", options.top_k, "K", "Choose among the K likeliest tokens (default: 0, all)")
      .in_range(int64_t{0}, int64_t{1} << 31);
  add("--top-p", options.top_p, "P", "Choose among the likeliest tokens that together have probability P (default: 1)")
      .in_range(0.0, 1.0);
  add("--min-p", options.min_p, "P", "Leave out tokens below P times the likeliest one's probability (default: 0)")
      .in_range(0.0, 1.0);
  add("--seed", options.seed, "S", "Same seed, same text (default: another one each time)");
  add("--stop", options.stop, "TEXT", "Stop before this text; may be given several times").allow_extra_args(false);
  add_precision_option(verb, options.precision, "auto");
}

}  // namespace fledge::cli
