#include "train/objectives/distillation/teacher.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "models/gguf_model.h"
#include "models/store.h"

namespace fledge::train {

Teacher::Teacher(const std::string& name)
    : name_(name),
      path_(models::resolve_model(name)),
      config_(models::read_config(path_)),
      shape_(shape_of(config_, path_.string())),
      vocabulary_size_(base::json_require<int64_t>(config_, "vocab_size", path_.string())) {}

void Teacher::require_same_vocabulary(const BatchSource& source) const {
  const nn::Tokenizer own = models::load_tokenizer(path_);
  const nn::Tokenizer& other = source.tokenizer();
  const std::string both = fmt::format("the teacher {} and the student's data with the tokenizer {}", path_.string(),
                                       source.tokenizer_folder().string());
  if (own.vocabulary_size() != other.vocabulary_size()) {
    throw base::UsageError(
        "{} have different vocabularies, of {} and {} tokens; prepare the data with the teacher's tokenizer", both,
        own.vocabulary_size(), other.vocabulary_size());
  }
  for (int32_t id = 0; id < own.vocabulary_size(); ++id) {
    const auto text = [id](const nn::Tokenizer& tokenizer) {
      // An id may stand for nothing, in both.
      try {
        return std::string(tokenizer.token_bytes(id));
      } catch (const base::Error&) {
        return std::string("(none)");
      }
    };
    if (text(own) != text(other)) {
      throw base::UsageError(
          "{} have different vocabularies: token {} is \"{}\" and \"{}\"; prepare the data with the teacher's "
          "tokenizer",
          both, id, base::printable(text(own)), base::printable(text(other)));
    }
  }
}

void Teacher::load() {
  if (!loaded_.model) loaded_ = models::load_model(path_, tensor::DType::f32, false);
}

models::LanguageModel& Teacher::model(const tensor::Arena& arena) {
  const bool shapes_only = arena.device() == tensor::Device::meta;
  if (!shapes_only) {
    load();
    return *loaded_.model;
  }
  if (!shapes_.model) {
    shapes_.memory = std::make_unique<nn::Memory>(tensor::Device::meta);
    shapes_.model = models::make_model(config_, path_.string());
    shapes_.model->parameters().allocate(*shapes_.memory, tensor::DType::f32, false);
  }
  return *shapes_.model;
}

size_t Teacher::bytes() const {
  size_t bytes = 0;
  for (const models::LoadedModel* held : {&loaded_, &shapes_}) {
    if (held->memory) bytes += held->memory->parameters.peak_bytes() + held->memory->encodings.peak_bytes();
  }
  return bytes;
}

models::ForwardOutput Teacher::forward(grad::Graph& student_graph, const models::ForwardInput& input) {
  models::LanguageModel& own = model(student_graph.arena());
  nn::Memory& memory = *(student_graph.arena().device() == tensor::Device::meta ? shapes_ : loaded_).memory;
  grad::Graph graph(student_graph.arena(), memory.encodings, student_graph.activation_type(), false);
  return own.forward(graph, input);
}

}  // namespace fledge::train
