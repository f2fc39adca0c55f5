#include "tensor/block_format.h"

#include "support/reference_data.h"
#include "tensor/float16.h"
#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

constexpr BlockType kTypes[] = {BlockType::q8_0, BlockType::q4_0, BlockType::q4_1,
                                BlockType::q4_k, BlockType::q6_k, BlockType::q5_0};

std::vector<std::byte> bytes_of(const test::ReferenceData& data, const std::string& name) {
  std::vector<std::byte> bytes;
  for (const float value : data.values<float>(name)) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

/// Sum of squares of what a type loses of the values.
double squared_error(BlockType type, const std::vector<float>& values) {
  const auto count = static_cast<int64_t>(values.size());
  std::vector<std::byte> blocks(row_bytes(type, count));
  std::vector<float> back(values.size());
  quantize_row(type, values.data(), blocks.data(), count);
  dequantize_row(type, blocks.data(), back.data(), count);
  double error = 0;
  for (size_t i = 0; i < values.size(); ++i) error += std::pow(double{back[i]} - values[i], 2);
  return error;
}

std::vector<float> normal_values(int64_t count, uint64_t seed) {
  return make_normal({count}, DType::f32, seed).to_vector<float>();
}

TEST(Float16, AgreesWithTheReferenceOnEveryNumber) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = from_f16(static_cast<uint16_t>(bits));
    const auto expected = static_cast<float>(cpu::reference::from_f16(static_cast<uint16_t>(bits)));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(expected)) << bits;
    ASSERT_EQ(to_f16(value), bits);
    // Half way to the next number, and the f32 numbers beside it.
    const float next = from_f16(static_cast<uint16_t>(bits + 1));
    if (!std::isfinite(next) || !std::isfinite(value)) continue;
    const float middle = (value + next) / 2;
    for (const float near : {std::nextafter(middle, -1e9f), middle, std::nextafter(middle, 1e9f)}) {
      ASSERT_EQ(to_f16(near), cpu::reference::to_f16(near)) << near;
    }
  }
  EXPECT_EQ(to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(to_f16(-1e30f), 0xfc00);
  EXPECT_EQ(to_f16(NAN) & 0x7fff, 0x7e00);
}

TEST(BlockFormat, HasNamesAndSizes) {
  for (const BlockType type : kTypes) EXPECT_EQ(block_type_named(name_of(type)), type);
  EXPECT_EQ(block_type_named("Q8_0"), std::nullopt);
  EXPECT_EQ(block_type_named("q5_1"), std::nullopt);
  EXPECT_EQ(row_bytes(BlockType::q8_0, 64), 68u);
  EXPECT_EQ(row_bytes(BlockType::q4_0, 64), 36u);
  EXPECT_EQ(row_bytes(BlockType::q4_1, 64), 40u);
  EXPECT_EQ(row_bytes(BlockType::q4_k, 512), 288u);
  EXPECT_EQ(row_bytes(BlockType::q6_k, 512), 420u);
  EXPECT_EQ(row_bytes(BlockType::q5_0, 64), 44u);
  EXPECT_THROW(row_bytes(BlockType::q8_0, 33), base::Error);
  EXPECT_THROW(row_bytes(BlockType::q6_k, 576), base::Error);
  EXPECT_THROW(row_bytes(BlockType::q8_0, -32), base::Error);
}

TEST(BlockFormat, ReadsTheBlocksOfTheGgufPackageBitForBit) {
  const test::ReferenceData data("blocks");
  for (const BlockType type : kTypes) {
    const std::string name(name_of(type));
    SCOPED_TRACE(name);
    const auto expected = data.values<float>(name + ".values");
    const auto blocks = bytes_of(data, name + ".blocks");
    ASSERT_EQ(blocks.size(), row_bytes(type, static_cast<int64_t>(expected.size())));
    std::vector<float> values(expected.size());
    dequantize_row(type, blocks.data(), values.data(), static_cast<int64_t>(values.size()));
    EXPECT_EQ(std::memcmp(values.data(), expected.data(), values.size() * sizeof(float)), 0);
  }
}

TEST(BlockFormat, WritesTheBytesOfTheGgufPackage) {
  const test::ReferenceData data("blocks");
  const auto values = data.values<float>("values");
  for (const BlockType type : {BlockType::q8_0, BlockType::q4_0, BlockType::q4_1, BlockType::q5_0}) {
    SCOPED_TRACE(name_of(type));
    std::vector<std::byte> blocks(row_bytes(type, static_cast<int64_t>(values.size())));
    quantize_row(type, values.data(), blocks.data(), static_cast<int64_t>(values.size()));
    EXPECT_EQ(blocks, bytes_of(data, std::string(name_of(type)) + ".blocks"));
  }
}

TEST(BlockFormat, LosesLittleOfNormalNumbers) {
  const auto values = normal_values(32768, 3);
  double total = 0;
  for (const float value : values) total += double{value} * value;
  // A uniform quantizer with step d loses d^2 / 12 of each value. 32 normal numbers span about 4.2 deviations, 16
  // about 3.5: the steps are about 4.2 / 254, 4.2 / 16, 4.2 / 15, 4.2 / 15, 3.5 / 63 and 4.2 / 32 deviations.
  EXPECT_LT(squared_error(BlockType::q8_0, values) / total, 3e-5);
  EXPECT_LT(squared_error(BlockType::q4_0, values) / total, 8e-3);
  EXPECT_LT(squared_error(BlockType::q4_1, values) / total, 7e-3);
  EXPECT_LT(squared_error(BlockType::q4_k, values) / total, 6e-3);
  EXPECT_LT(squared_error(BlockType::q6_k, values) / total, 4e-4);
  EXPECT_LT(squared_error(BlockType::q5_0, values) / total, 2e-3);
}

TEST(BlockFormat, KeepsWhatATypeCanHold) {
  // Whole multiples of one scale come back as they were.
  std::vector<float> values(256);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.5f * static_cast<float>(static_cast<int>(i % 16) - 8);
  for (const BlockType type : {BlockType::q4_0, BlockType::q5_0, BlockType::q6_k}) {
    EXPECT_LT(squared_error(type, values), 1e-9) << name_of(type);
  }
  const std::vector<float> zeros(512, 0.0f);
  for (const BlockType type : kTypes) EXPECT_EQ(squared_error(type, zeros), 0) << name_of(type);
  const std::vector<float> tiny(512, 1e-42f);
  for (const BlockType type : kTypes) EXPECT_LE(squared_error(type, tiny), 1e-13) << name_of(type);
}

TEST(BlockFormat, RefusesWhatNoScaleCanHold) {
  for (const BlockType type : kTypes) {
    for (const float bad : {NAN, INFINITY, -INFINITY, 1e9f}) {
      std::vector<float> values(256, 1.0f);
      values[200] = bad;
      std::vector<std::byte> blocks(row_bytes(type, 256));
      EXPECT_THROW(quantize_row(type, values.data(), blocks.data(), 256), base::Error) << name_of(type) << bad;
    }
  }
}

TEST(BlockMatrix, IsQuantizedRowByRowAndLookedUp) {
  const Tensor values = make_normal({37, 512}, DType::f32, 5);
  for (const BlockType type : kTypes) {
    SCOPED_TRACE(name_of(type));
    const BlockMatrix matrix = quantize(values, type, arena());
    Tensor whole = Tensor::empty({37, 512}, DType::f32, arena());
    dequantize(matrix, whole);
    std::vector<std::byte> blocks(row_bytes(type, 512));
    std::vector<float> row(512);
    for (int64_t r = 0; r < 37; ++r) {
      quantize_row(type, values.data<float>() + r * 512, blocks.data(), 512);
      dequantize_row(type, blocks.data(), row.data(), 512);
      ASSERT_EQ(std::memcmp(whole.data<float>() + r * 512, row.data(), 2048), 0) << r;
    }
    Tensor columns = Tensor::empty({37, 256}, DType::f32, arena());
    dequantize_columns(matrix, 256, columns);
    for (int64_t r = 0; r < 37; ++r) {
      ASSERT_EQ(std::memcmp(columns.data<float>() + r * 256, whole.data<float>() + r * 512 + 256, 1024), 0) << r;
    }
    EXPECT_THROW(dequantize_columns(matrix, 16, columns), base::Error);
    EXPECT_THROW(dequantize_columns(matrix, 512, columns), base::Error);
    const Tensor ids = Tensor::from<int32_t>({36, 0, 5, 5}, {4}, arena());
    Tensor rows = Tensor::empty({4, 512}, DType::f32, arena());
    Tensor rounded = Tensor::empty({4, 512}, DType::bf16, arena());
    dequantize_rows(matrix, ids, rows);
    dequantize_rows(matrix, ids, rounded);
    for (int64_t place = 0; place < 4; ++place) {
      const float* expected = whole.data<float>() + ids.data<int32_t>()[place] * 512;
      ASSERT_EQ(std::memcmp(rows.data<float>() + place * 512, expected, 2048), 0);
      for (int64_t c = 0; c < 512; ++c) {
        ASSERT_EQ(rounded.data<bf16>()[place * 512 + c].bits, bf16::from(expected[c]).bits);
      }
    }
  }
}

TEST(BlockMatrix, RefusesWhatDoesNotFit) {
  BlockMatrix matrix = quantize(make_normal({4, 64}, DType::f32, 5), BlockType::q8_0, arena());
  Tensor out = Tensor::empty({1, 64}, DType::f32, arena());
  EXPECT_THROW(dequantize_rows(matrix, Tensor::from<int32_t>({4}, {1}, arena()), out), base::Error);
  EXPECT_THROW(dequantize_rows(matrix, Tensor::from<int32_t>({-1}, {1}, arena()), out), base::Error);
  EXPECT_THROW(dequantize_rows(matrix, Tensor::from<int32_t>({0, 1}, {2}, arena()), out), base::Error);
  matrix.rows = 5;
  EXPECT_THROW(require_valid(matrix, "matrix"), base::Error);
  matrix.rows = -1;
  EXPECT_THROW(require_valid(matrix, "matrix"), base::Error);
  matrix.rows = int64_t{1} << 62;
  EXPECT_THROW(require_valid(matrix, "matrix"), base::Error);
  Tensor bad = make_normal({2, 64}, DType::f32, 5);
  bad.data<float>()[70] = NAN;
  EXPECT_THROW(quantize(bad, BlockType::q4_0, arena()), base::Error);
}

TEST(BlockMatrix, NeedsNoMemoryOnTheMetaDevice) {
  Arena meta("meta", Device::meta);
  const Tensor values = Tensor::empty({100, 256}, DType::f32, meta);
  const BlockMatrix matrix = quantize(values, BlockType::q6_k, meta);
  EXPECT_EQ(matrix.bytes.elements(), 21000);
  Tensor out = Tensor::empty({100, 256}, DType::f32, meta);
  dequantize(matrix, out);
}

}  // namespace
}  // namespace fledge::tensor
