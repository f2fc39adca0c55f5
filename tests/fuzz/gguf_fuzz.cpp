// Any bytes as a GGUF file: refused with an Error, or every tensor can be read and the header written again.
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "models/formats/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fledge;
  // A block of exactly that size: one byte too far is seen by the address sanitizer.
  const std::shared_ptr<std::byte[]> owner(new std::byte[size]);
  if (size > 0) std::memcpy(owner.get(), data, size);
  try {
    const auto reader = models::GgufReader::from_memory(owner, {owner.get(), size}, "fuzz");
    tensor::Arena arena("fuzz");
    for (const models::GgufTensor& stored : reader.tensors()) {
      try {
        reader.read_into(stored.name, tensor::Tensor::empty(stored.shape, tensor::DType::f32, arena));
        reader.view(stored.name);
        if (const auto blocks = reader.blocks(stored.name)) tensor::require_valid(*blocks, stored.name);
      } catch (const base::Error&) {
        // A type that is listed and not read; fine.
      }
    }
    const models::GgufHeader header = models::parse_gguf_header({owner.get(), size}, "fuzz");
    std::string text;
    try {
      text = models::gguf_header_text(header, "fuzz");
    } catch (const base::Error&) {
      return 0;  // arrays of arrays
    }
    text.resize(text.size() + size - std::min<size_t>(size, header.data_begin));
    const models::GgufHeader second =
        models::parse_gguf_header(std::as_bytes(std::span(text.data(), text.size())), "fuzz again");
    if (second.tensors.size() != header.tensors.size()) __builtin_trap();
    if (second.metadata.entries().size() != header.metadata.entries().size()) __builtin_trap();
  } catch (const base::Error&) {
    // Refused; fine.
  }
  return 0;
}
