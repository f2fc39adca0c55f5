#pragma once

#include "train/objectives/next_token.h"

namespace fledge::train {

/// Makes room in a model's configuration for tokens that its tokenizer was given (data.add_tokens).
void fit_vocabulary(base::Json& config, const nn::Tokenizer& tokenizer);

/// Cross-entropy of the assistant's tokens in conversations (see ChatSource), averaged over them.
class Chat : public NextToken {
 public:
  explicit Chat(const BatchSource& source) : source_(source) {}
  void adapt_config(base::Json& config) const override { fit_vocabulary(config, source_.tokenizer()); }

 private:
  const BatchSource& source_;
};

}  // namespace fledge::train
