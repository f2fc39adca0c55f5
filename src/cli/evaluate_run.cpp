#include "base/file.h"
#include "base/json.h"
#include "cli/common.h"
#include "cli/evaluate.h"
#include "cli/loaded_model.h"
#include "cli/work_progress.h"
#include "train/perplexity.h"

namespace fledge::cli {

void run_eval(const EvaluateOptions& options, const CommonOptions& common) {
  WorkProgress progress("evaluate", common);
  OpenedModel opened = open_model(options.model, options.precision, false);
  const nn::Tokenizer tokenizer = open_tokenizer(opened);
  const base::MappedFile text(options.perplexity);
  const std::vector<int32_t> ids = tokenizer.encode(text.text(), {.match_special = false});
  const train::Perplexity result = train::measure_perplexity(
      opened.model(), opened.memory(), ids, static_cast<int64_t>(text.text().size()),
      {.stride = options.stride, .chunk = options.chunk}, opened.activation_type, [&](int64_t done, int64_t total) {
        progress.update({static_cast<double>(done), static_cast<double>(total), {}});
      });
  progress.finish("");
  if (options.json) {
    const base::OrderedJson json = {{"loss", result.loss()},
                                    {"perplexity", result.perplexity()},
                                    {"bits_per_byte", result.bits_per_byte()},
                                    {"tokens", result.tokens},
                                    {"bytes", result.bytes},
                                    {"seconds", progress.seconds()}};
    print(json.dump() + "\n");
    return;
  }
  print(
      fmt::format("loss per token  {:.4f} nats\nperplexity      {:.3f}\nbits per byte   {:.4f}\nscored          {} "
                  "tokens, {} bytes\n",
                  result.loss(), result.perplexity(), result.bits_per_byte(), result.tokens, result.bytes));
}

}  // namespace fledge::cli
