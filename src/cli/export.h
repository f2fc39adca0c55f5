#pragma once

#include <string>

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct ExportOptions {
  std::string model;  ///< a folder, a run, or a GGUF file
  std::string out;
  std::string to = "hf";
  std::string type;       ///< of the matrices of a GGUF file; empty: as they are
  bool own_head = false;  ///< a head that is tied to the embedding becomes a tensor of its own
};

struct QuantizeOptions {
  std::string model;
  std::string type;
  std::string out;   ///< empty: beside the model, named by it and the type
  std::string text;  ///< file to measure perplexity on
  bool json = false;
};

void add_import_command(Verb app, Context& context);
void add_export_command(Verb app, Context& context);
void add_quantize_command(Verb app, Context& context);

/// Writes a model as a Hugging Face folder or as a GGUF file.
void run_export(const ExportOptions& options, const CommonOptions& common);
/// Writes a quantized GGUF file and reports sizes and, where a text is given, perplexity before and after.
void run_quantize(const QuantizeOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
