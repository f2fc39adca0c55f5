#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace fledge::nn {

/// Reads the fields of one protobuf message, one after the other (Protocol Buffers, "Encoding"). The bytes are hostile:
/// every length is checked, and what does not fit throws base::Error naming the origin and the place.
class ProtobufReader {
 public:
  ProtobufReader(std::string_view message, std::string_view origin) : message_(message), origin_(origin) {}

  /// Goes to the next field; false at the end.
  bool next() {
    if (position_ == message_.size()) return false;
    const uint64_t tag = read_varint();
    field_ = tag >> 3;
    switch (tag & 7) {
      case 0:
        number_ = read_varint();
        break;
      case 1:
        bytes_ = read_bytes(8);
        break;
      case 2:
        bytes_ = read_bytes(read_varint());
        break;
      case 5:
        bytes_ = read_bytes(4);
        break;
      default:
        throw base::Error("{}: byte {} begins no protobuf field: this is not a SentencePiece model", origin_,
                          position_);
    }
    type_ = tag & 7;
    return true;
  }

  uint64_t field() const { return field_; }

  /// The value of the field; throws where the field is of another type.
  std::string_view bytes() const { return expect(2), bytes_; }
  uint64_t number() const { return expect(0), number_; }
  float real() const {
    expect(5);
    uint32_t bits = 0;
    for (size_t i = 4; i-- > 0;) bits = bits << 8 | static_cast<uint8_t>(bytes_[i]);
    return std::bit_cast<float>(bits);
  }

 private:
  void expect(uint64_t type) const {
    if (type_ != type) {
      throw base::Error("{}: field {} before byte {} has the protobuf type {} where {} was expected", origin_, field_,
                        position_, type_, type);
    }
  }

  uint64_t read_varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (position_ == message_.size()) break;
      const auto byte = static_cast<uint8_t>(message_[position_++]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    throw base::Error("{}: the number before byte {} has no end: the file is cut short or no SentencePiece model",
                      origin_, position_);
  }

  std::string_view read_bytes(uint64_t count) {
    if (count > message_.size() - position_) {
      throw base::Error(
          "{}: a field at byte {} says that it has {} bytes, but {} are left: the file is cut short or no "
          "SentencePiece model",
          origin_, position_, count, message_.size() - position_);
    }
    const std::string_view result = message_.substr(position_, count);
    position_ += count;
    return result;
  }

  std::string_view message_, origin_, bytes_;
  size_t position_ = 0;
  uint64_t field_ = 0, type_ = 0, number_ = 0;
};

}  // namespace fledge::nn
