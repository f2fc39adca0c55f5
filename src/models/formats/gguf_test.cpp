#include "models/formats/gguf.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "base/error.h"
#include "models/formats/safetensors.h"

namespace fledge::models {
namespace {

using base::Json;
using tensor::Arena;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;
using ::testing::HasSubstr;

std::filesystem::path reference(const char* name) {
  return std::filesystem::path(FLEDGE_REFERENCE_DIR) / "gguf" / name;
}

GgufReader reader_of(const std::string& file) {
  auto owner = std::make_shared<std::string>(file);
  return GgufReader::from_memory(owner, std::as_bytes(std::span(owner->data(), owner->size())), "file");
}

/// The sentence with which a file is refused; empty where it is accepted.
std::string fault_of(const std::string& file) {
  try {
    reader_of(file);
  } catch (const base::Error& error) {
    return error.what();
  }
  return "";
}

template <typename T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

std::string text_of(const std::string& text) {
  return bytes_of<uint64_t>(text.size()) + text;
}

std::string beginning(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
  return "GGUF" + bytes_of(version) + bytes_of(tensors) + bytes_of(entries);
}

std::string tensor_info(const std::string& name, const std::vector<uint64_t>& extents, uint32_t type, uint64_t offset) {
  std::string text = text_of(name) + bytes_of(static_cast<uint32_t>(extents.size()));
  for (const uint64_t extent : extents) text += bytes_of(extent);
  return text + bytes_of(type) + bytes_of(offset);
}

std::string padded(std::string text, size_t data) {
  text.resize((text.size() + 31) / 32 * 32 + data);
  return text;
}

class GgufTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / fmt::format("fledge-gguf-{}-{}", test->name(), ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  Arena arena_{"test"};
};

TEST_F(GgufTest, ReadsEveryMetadataTypeOfThePackage) {
  const GgufReader file = GgufReader::open(reference("types.gguf"));
  const GgufMetadata& metadata = file.metadata();
  const auto content = [&](const char* key) { return metadata.find(key)->content; };
  EXPECT_EQ(content("test.u8"), 250);
  EXPECT_EQ(content("test.i8"), -3);
  EXPECT_EQ(content("test.u16"), 65000);
  EXPECT_EQ(content("test.i16"), -30000);
  EXPECT_EQ(content("test.u32"), 4000000000);
  EXPECT_EQ(content("test.i32"), -2000000000);
  EXPECT_EQ(content("test.u64").get<uint64_t>(), (uint64_t{1} << 63) + 1);
  EXPECT_EQ(content("test.i64"), -(int64_t{1} << 62));
  EXPECT_EQ(content("test.f32").get<double>(), static_cast<double>(0.1f));
  EXPECT_EQ(content("test.f64").get<double>(), 0.1);
  EXPECT_EQ(content("test.bool"), true);
  EXPECT_EQ(content("test.string"), "Grüße, 世界");
  EXPECT_EQ(content("test.strings"), Json({"a", "", "\u0120b"}));
  EXPECT_EQ(content("test.integers"), Json({3, -1, 2}));
  EXPECT_EQ(content("test.reals"), Json({0.5, -2.0}));
  EXPECT_EQ(metadata.require<std::string>("general.architecture", "file"), "test");
  EXPECT_THROW(metadata.require<int64_t>("test.u64", "file"), base::Error);
  EXPECT_THROW(metadata.require<std::string>("test.u8", "file"), base::Error);
}

TEST_F(GgufTest, TensorsHaveTheValuesOfThePackage) {
  const GgufReader file = GgufReader::open(reference("types.gguf"));
  const SafetensorsReader expected = SafetensorsReader::open(reference("types_values.safetensors"));
  int compared = 0;
  for (const GgufTensor& stored : file.tensors()) {
    SCOPED_TRACE(stored.name);
    const Tensor got = Tensor::empty(stored.shape, DType::f32, arena_);
    if (stored.name == "iq4_nl") {
      EXPECT_THROW(file.read_into(stored.name, got), base::Error);
      continue;
    }
    const Tensor want = expected.tensor(stored.name, arena_);
    ASSERT_EQ(stored.shape, want.shape());
    file.read_into(stored.name, got);
    // Q8_0 and the 4-bit types are one product or a product and a sum in f32 on both sides.
    EXPECT_EQ(got.to_vector<float>(), want.to_vector<float>());
    const Tensor wide = Tensor::empty(stored.shape, DType::f64, arena_);
    file.read_into(stored.name, wide);
    const std::vector<double> doubles = wide.to_vector<double>();
    EXPECT_EQ(std::vector<float>(doubles.begin(), doubles.end()), want.to_vector<float>());
    ++compared;
  }
  EXPECT_EQ(compared, 14);
}

TEST_F(GgufTest, ViewsShareTheFilesBytes) {
  const GgufReader file = GgufReader::open(reference("types.gguf"));
  ASSERT_TRUE(file.view("f32"));
  EXPECT_EQ(file.view("f32")->shape(), (Shape{3, 64}));
  EXPECT_EQ(file.view("bf16")->dtype(), DType::bf16);
  EXPECT_FALSE(file.view("q8_0"));
  EXPECT_FALSE(file.blocks("f32"));
  EXPECT_FALSE(file.blocks("q5_1"));
  EXPECT_TRUE(file.blocks("q5_0"));
  const auto blocks = file.blocks("q4_1");
  ASSERT_TRUE(blocks);
  EXPECT_EQ(blocks->rows, 3);
  EXPECT_EQ(blocks->columns, 64);
  EXPECT_TRUE(blocks->bytes.shares_storage(*file.view("f32")));
  EXPECT_NO_THROW(tensor::require_valid(*blocks, "q4_1"));
}

TEST_F(GgufTest, WritesWhatItReadAndTheSameBytesTwice) {
  const GgufReader file = GgufReader::open(reference("types.gguf"));
  std::vector<GgufPlan> plans;
  for (const GgufTensor& tensor : file.tensors()) plans.push_back({tensor.name, tensor.type, tensor.shape});
  const auto write = [&](const std::filesystem::path& path) {
    GgufWriter writer(path, file.metadata(), plans);
    for (const GgufPlan& plan : plans) {
      const Tensor bytes = file.bytes(plan.name);
      writer.write(plan.name, std::span<const std::byte>(bytes.raw(), bytes.bytes()));
    }
    writer.commit();
    return base::read_file(path);
  };
  const std::string first = write(folder_ / "a.gguf");
  EXPECT_EQ(first, write(folder_ / "b.gguf"));
  EXPECT_EQ(first, base::read_file(reference("types.gguf")));
}

TEST_F(GgufTest, EncodesWithinTheStepOfEachType) {
  std::vector<float> values(512);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 50;
  const Tensor matrix = Tensor::from(values, {2, 256}, arena_);
  // Values lie in [-1, 1]; each bound is half the largest step between two values of the type, with f16 scales.
  for (const auto& [name, bound] : std::vector<std::pair<const char*, double>>{{"f32", 0.0},
                                                                               {"f16", 0x1p-12},
                                                                               {"bf16", 0x1p-9},
                                                                               {"q8_0", 0.51 / 127 + 0x1p-11},
                                                                               {"q4_0", 0.126},
                                                                               {"q4_1", 0.069}}) {
    SCOPED_TRACE(name);
    const GgufType& type = *gguf_type_named(name);
    GgufWriter writer(folder_ / "one.gguf", {}, {{"w", &type, matrix.shape()}});
    writer.write("w", matrix);
    writer.commit();
    const Tensor read = Tensor::empty(matrix.shape(), DType::f32, arena_);
    GgufReader::open(folder_ / "one.gguf").read_into("w", read);
    double worst = 0.0;
    for (size_t i = 0; i < values.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(read.data<float>()[i]) - values[i]));
    }
    EXPECT_LE(worst, bound);
  }
  const Tensor large = Tensor::from(std::vector<float>{70000.0f}, {1}, arena_);
  EXPECT_THROW(encode_gguf(large, kGgufF16, "w"), base::Error);
  EXPECT_THROW(encode_gguf(matrix, *gguf_type_named("q5_k"), "w"), base::Error);
}

TEST_F(GgufTest, WriterRefusesWhatWasNotPlanned) {
  const Tensor two = Tensor::from(std::vector<float>{1, 2}, {2}, arena_);
  EXPECT_THROW(GgufWriter(folder_ / "x", {}, {{"a", &kGgufF32, {2}}, {"a", &kGgufF32, {2}}}), base::Error);
  EXPECT_THROW(GgufWriter(folder_ / "x", {}, {{std::string(64, 'n'), &kGgufF32, {2}}}), base::Error);
  EXPECT_THROW(GgufWriter(folder_ / "x", {}, {{"a", gguf_type_named("q8_0"), {3, 33}}}), base::Error);
  GgufWriter writer(folder_ / "x", {}, {{"a", &kGgufF32, {2}}, {"b", &kGgufF32, {3}}});
  EXPECT_THROW(writer.write("b", two), base::Error);
  writer.write("a", two);
  EXPECT_THROW(writer.write("b", two), base::Error);
  EXPECT_THROW(writer.commit(), base::Error);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x"));
}

TEST(GgufHeaderTest, RefusesHostileBytes) {
  EXPECT_EQ(fault_of(padded(beginning(0, 0), 0)), "");
  EXPECT_EQ(fault_of(padded(beginning(0, 0, 2), 0)), "");
  EXPECT_THAT(fault_of(""), HasSubstr("no GGUF file"));
  EXPECT_THAT(fault_of("GGML"), HasSubstr("no GGUF file"));
  EXPECT_THAT(fault_of("GGUF"), HasSubstr("cut short"));
  EXPECT_THAT(fault_of(beginning(0, 0, 1)), HasSubstr("version 1"));
  EXPECT_THAT(fault_of(beginning(0, 0, 0x03000000)), HasSubstr("big-endian"));
  EXPECT_THAT(fault_of(beginning(uint64_t{1} << 60, 0)), HasSubstr("tensors, but only"));
  EXPECT_THAT(fault_of(beginning(0, uint64_t{1} << 60)), HasSubstr("metadata entries, but only"));

  const auto entry = [](const std::string& rest) { return beginning(0, 1) + text_of("key") + rest; };
  EXPECT_THAT(fault_of(entry(bytes_of<uint32_t>(13))), HasSubstr("unknown type 13"));
  EXPECT_THAT(fault_of(entry(bytes_of<uint32_t>(7) + "\2")), HasSubstr("boolean 2"));
  EXPECT_THAT(fault_of(entry(bytes_of<uint32_t>(8) + bytes_of(~uint64_t{0}))), HasSubstr("cut short"));
  EXPECT_THAT(fault_of(entry(bytes_of<uint32_t>(9) + bytes_of<uint32_t>(4) + bytes_of(uint64_t{1} << 61))),
              HasSubstr("values, but only"));
  std::string nested;
  for (int level = 0; level < 6; ++level) nested += bytes_of<uint32_t>(9) + bytes_of<uint64_t>(1);
  EXPECT_THAT(fault_of(entry(bytes_of<uint32_t>(9) + nested)), HasSubstr("deeper than"));
  const std::string flag = text_of("key") + bytes_of<uint32_t>(7) + "\1";
  EXPECT_THAT(fault_of(beginning(0, 2) + flag + flag), HasSubstr("given twice"));
  const auto aligned = [&](uint32_t alignment) {
    return beginning(0, 1) + text_of("general.alignment") + bytes_of<uint32_t>(4) + bytes_of(alignment);
  };
  EXPECT_EQ(fault_of(aligned(64)), "");
  for (const uint32_t alignment : {0u, 4u, 12u, 1u << 30}) {
    EXPECT_THAT(fault_of(aligned(alignment)), HasSubstr("general.alignment"));
  }
}

TEST(GgufHeaderTest, RefusesTensorsOutOfPlace) {
  const auto one = [](const std::vector<uint64_t>& extents, uint32_t type, uint64_t offset) {
    return padded(beginning(1, 0) + tensor_info("w", extents, type, offset), 128);
  };
  EXPECT_EQ(fault_of(one({32}, 0, 0)), "");
  EXPECT_THAT(fault_of(one({33}, 0, 0)), HasSubstr("cut short"));
  EXPECT_THAT(fault_of(one({8}, 0, 16)), HasSubstr("multiple of 32"));
  EXPECT_THAT(fault_of(one({8}, 0, ~uint64_t{31})), HasSubstr("no place"));
  EXPECT_THAT(fault_of(one({33}, 8, 0)), HasSubstr("whole blocks of 32"));
  EXPECT_THAT(fault_of(one({8}, 4, 0)), HasSubstr("unknown type 4"));
  EXPECT_THAT(fault_of(one({1, 1, 1, 1, 1}, 0, 0)), HasSubstr("5 dimensions"));
  EXPECT_THAT(fault_of(one({uint64_t{1} << 62, uint64_t{1} << 62}, 0, 0)), HasSubstr("countable"));
  EXPECT_THAT(fault_of(one({~uint64_t{0}}, 0, 0)), HasSubstr("extent"));
  const std::string info = tensor_info("w", {8}, 0, 0);
  EXPECT_THAT(fault_of(padded(beginning(2, 0) + info + info, 128)), HasSubstr("given twice"));
  EXPECT_THAT(fault_of(padded(beginning(2, 0) + info + tensor_info("v", {8}, 0, 0), 128)), HasSubstr("overlap"));
}

TEST(GgufHeaderTest, EveryCutIsRefusedOrReadsTheSame) {
  const std::string whole = base::read_file(reference("types.gguf"));
  for (size_t length = 0; length < whole.size(); length += length < 2048 ? 1 : 97) {
    EXPECT_NE(fault_of(whole.substr(0, length)), "") << length;
  }
}

}  // namespace
}  // namespace fledge::models
