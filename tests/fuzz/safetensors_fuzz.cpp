// Any bytes as a safetensors file: refused with an Error, or every tensor can be read.
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "models/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fledge;
  // A block of exactly that size: one byte too far is seen by the address sanitizer.
  const std::shared_ptr<std::byte[]> owner(new std::byte[size]);
  if (size > 0) std::memcpy(owner.get(), data, size);
  try {
    const auto reader = models::SafetensorsReader::from_memory(owner, {owner.get(), size}, "fuzz");
    tensor::Arena arena("fuzz");
    for (const std::string& name : reader.names()) {
      const models::StoredTensor& stored = reader.info(name);
      for (const tensor::DType dtype : {tensor::DType::f32, tensor::DType::i64}) {
        try {
          reader.read_into(name, tensor::Tensor::empty(stored.shape, dtype, arena));
        } catch (const base::Error&) {
          // Not convertible; fine.
        }
      }
      if (models::dtype_of(stored.type)) reader.tensor(name, arena);
    }
    // What was read is written back to a header that reads the same.
    const models::SafetensorsHeader header = models::parse_safetensors_header({owner.get(), size}, "fuzz");
    const std::string text = models::safetensors_header_text(header.tensors, header.metadata, "fuzz");
    std::vector<std::byte> again(text.size() + size - header.data_begin);
    std::memcpy(again.data(), text.data(), text.size());
    const models::SafetensorsHeader second = models::parse_safetensors_header(again, "fuzz again");
    if (second.tensors.size() != header.tensors.size() || second.metadata != header.metadata) __builtin_trap();
  } catch (const base::Error&) {
    // Refused; fine.
  }
  return 0;
}
