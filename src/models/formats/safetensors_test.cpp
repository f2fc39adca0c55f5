#include "models/formats/safetensors.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "base/error.h"

namespace fledge::models {
namespace {

using tensor::Arena;
using tensor::bf16;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::filesystem::path reference(const char* name) {
  return std::filesystem::path(FLEDGE_REFERENCE_DIR) / "safetensors" / name;
}

/// A folder that is gone at the end of the test.
class SafetensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / fmt::format("fledge-{}-{}", test->name(), ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  Arena arena_{"test"};
};

std::string file_text(const std::string& json, const std::string& data) {
  std::string text(8, '\0');
  for (size_t i = 0; i < 8; ++i) text[i] = static_cast<char>((json.size() >> (8 * i)) & 0xff);
  return text + json + data;
}

SafetensorsReader reader_of(const std::string& file) {
  auto owner = std::make_shared<std::string>(file);
  const auto bytes = std::as_bytes(std::span(owner->data(), owner->size()));
  return SafetensorsReader::from_memory(owner, bytes, "weights");
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

template <typename Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const base::Error& error) {
    return error.what();
  }
  return "";
}

template <typename T>
std::vector<T> read_as(const SafetensorsReader& reader, std::string_view name, Arena& arena) {
  Tensor target = Tensor::empty(reader.info(name).shape, tensor::DTypeOf<T>::value, arena);
  reader.read_into(name, target);
  return target.to_vector<T>();
}

// ---- Files of the safetensors package (tests/reference/make_safetensors_data.py) ----

TEST_F(SafetensorsTest, ReadsEveryTypeOfThePackage) {
  const auto reader = SafetensorsReader::open(reference("types.safetensors"));
  EXPECT_EQ(reader.names().size(), 15u);
  EXPECT_EQ(reader.metadata(), (Metadata{{"format", "pt"}}));
  EXPECT_EQ(name_of(reader.info("bf16").type), "BF16");
  EXPECT_EQ(reader.info("f32").shape, (Shape{2, 3}));
  const std::vector<float> centered{-2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f};
  EXPECT_EQ(read_as<float>(reader, "f32", arena_), centered);
  EXPECT_EQ(read_as<float>(reader, "f64", arena_), centered);
  EXPECT_EQ(read_as<double>(reader, "f64", arena_), std::vector<double>(centered.begin(), centered.end()));
  EXPECT_THAT(read_as<float>(reader, "bf16", arena_), ElementsAre(0, 0.5, 1, 1.5, 2, 2.5));
  const std::vector<int64_t> from_minus_three{-3, -2, -1, 0, 1, 2};
  EXPECT_EQ(read_as<int64_t>(reader, "i32", arena_), from_minus_three);
  EXPECT_EQ(read_as<int64_t>(reader, "i16", arena_), from_minus_three);
  EXPECT_EQ(read_as<int64_t>(reader, "i8", arena_), from_minus_three);
  EXPECT_EQ(read_as<int64_t>(reader, "i64", arena_).front(), -3 * (int64_t{1} << 40));
  EXPECT_THAT(read_as<int32_t>(reader, "u64", arena_), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(read_as<uint8_t>(reader, "u32", arena_), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(read_as<uint16_t>(reader, "u16", arena_), ElementsAre(65000, 65001, 65002, 65003, 65004, 65005));
  EXPECT_THAT(read_as<float>(reader, "u8", arena_), ElementsAre(250, 251, 252, 253, 254, 255));
  EXPECT_THAT(read_as<uint8_t>(reader, "bool", arena_), ElementsAre(0, 1, 0, 1, 0, 1));
  EXPECT_THAT(read_as<float>(reader, "scalar", arena_), ElementsAre(7));
  EXPECT_TRUE(read_as<float>(reader, "empty", arena_).empty());
}

TEST_F(SafetensorsTest, WidensHalfPrecisionExactly) {
  const auto reader = SafetensorsReader::open(reference("types.safetensors"));
  const std::vector<float> values = read_as<float>(reader, "f16", arena_);
  EXPECT_THAT(values, ElementsAre(0, 0, 1.5f, -2, 65504, 0x1p-24f, 0x1p-14f, INFINITY));
  EXPECT_TRUE(std::signbit(values[1]));
}

TEST_F(SafetensorsTest, ViewsTheMappedBytesWhereTheyAreAligned) {
  Tensor kept;
  {
    const auto reader = SafetensorsReader::open(reference("types.safetensors"));
    const std::optional<Tensor> view = reader.view("f32");
    ASSERT_TRUE(view);
    EXPECT_TRUE(view->shares_storage(*reader.view("f64")));
    EXPECT_FALSE(reader.view("bool"));  // no tensor type
    kept = *view;
  }
  // The mapping outlives the reader.
  EXPECT_EQ(kept.to_vector<float>().back(), 2.5f);
}

TEST_F(SafetensorsTest, CopiesWhereTheBytesAreNotAligned) {
  std::string data(5, '\0');
  const float value = 1.25f;
  std::memcpy(data.data() + 1, &value, sizeof value);
  const auto reader = reader_of(file_text(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                          R"("b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}   )",
                                          data));
  const auto address = [](const Tensor& tensor) { return reinterpret_cast<uintptr_t>(tensor.raw()); };
  ASSERT_TRUE(reader.view("a"));
  // The heap block's alignment decides which case this is; whichever it is, the value is right and usable.
  EXPECT_EQ(reader.view("b").has_value(), (address(*reader.view("a")) + 1) % sizeof(float) == 0);
  const Tensor tensor = reader.tensor("b", arena_);
  EXPECT_EQ(address(tensor) % sizeof(float), 0u);
  EXPECT_EQ(tensor.to_vector<float>(), std::vector<float>{1.25f});
}

TEST_F(SafetensorsTest, RefusesConversionsThatLoseTheMeaning) {
  const auto reader = SafetensorsReader::open(reference("types.safetensors"));
  EXPECT_THAT(error_of([&] { read_as<int32_t>(reader, "f32", arena_); }),
              AllOf(HasSubstr("types.safetensors: tensor \"f32\""), HasSubstr("F32, which cannot be read as i32")));
  EXPECT_THAT(error_of([&] { read_as<int32_t>(reader, "i64", arena_); }),
              HasSubstr("values of I64 that do not fit i32"));
  EXPECT_THAT(error_of([&] { read_as<uint8_t>(reader, "i8", arena_); }), HasSubstr("do not fit u8"));
  Tensor wrong = Tensor::empty({3, 2}, DType::f32, arena_);
  EXPECT_THAT(error_of([&] { reader.read_into("f32", wrong); }), HasSubstr("has the shape [2, 3], expected [3, 2]"));
  EXPECT_THAT(error_of([&] { reader.read_into("f32", wrong.transpose(0, 1)); }), HasSubstr("not contiguous"));
  EXPECT_THAT(error_of([&] { reader.info("f33"); }), HasSubstr("has no tensor \"f33\"; the nearest name is \"f3"));
  EXPECT_THAT(error_of([&] { reader.tensor("bool", arena_); }), HasSubstr("stored as BOOL"));
}

TEST_F(SafetensorsTest, ReadsAModelInShards) {
  const auto reader = SafetensorsReader::open_model(reference("sharded"));
  EXPECT_THAT(reader.names(), ElementsAre("a", "b"));
  EXPECT_EQ(reader.total_bytes(), 32u);
  EXPECT_THAT(read_as<float>(reader, "a", arena_), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(read_as<float>(reader, "b", arena_), ElementsAre(4, 5, 6, 7));
}

TEST_F(SafetensorsTest, SaysWhatIsWrongWithShards) {
  const auto copy = [&](const char* name) { std::filesystem::copy_file(reference("sharded") / name, folder_ / name); };
  const auto fault = [&] { return error_of([&] { SafetensorsReader::open_model(folder_); }); };
  const std::string index = folder_ / "model.safetensors.index.json";
  EXPECT_THAT(fault(), HasSubstr("holds neither model.safetensors nor"));
  std::ofstream(folder_ / "pytorch_model.bin") << "x";
  EXPECT_THAT(fault(), HasSubstr("convert it to safetensors"));
  copy("model.safetensors.index.json");
  copy("model-00001-of-00002.safetensors");
  EXPECT_THAT(fault(), HasSubstr("\"model-00002-of-00002.safetensors\" is missing"));
  base::write_file(index, R"({"weight_map":{"a":"model-00001-of-00002.safetensors",)"
                          R"("c":"model-00001-of-00002.safetensors"}})");
  EXPECT_THAT(fault(), HasSubstr("has no tensor \"c\", which model.safetensors.index.json promises"));
  base::write_file(index, R"({"weight_map":{"a":"../a.safetensors"}})");
  EXPECT_THAT(fault(), HasSubstr("expected the plain name of a file"));
  base::write_file(index, R"({"weights":{}})");
  EXPECT_THAT(fault(), HasSubstr("has no \"weight_map\""));
  std::filesystem::copy_file(folder_ / "model-00001-of-00002.safetensors", folder_ / "twin.safetensors");
  base::write_file(index, R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"twin.safetensors"}})");
  EXPECT_THAT(fault(), HasSubstr("has the tensor \"a\", which"));
}

// ---- What a hostile or damaged file is told ----

std::string one(const std::string& fields) {
  return file_text("{\"w\":{" + fields + "}}", std::string(8, '\0'));
}

TEST(SafetensorsFaults, Length) {
  EXPECT_THAT(fault_of(""), HasSubstr("weights: has 0 bytes"));
  EXPECT_THAT(fault_of("1234567"), HasSubstr("has 7 bytes"));
  EXPECT_THAT(fault_of(std::string(7, '\xff') + '\x7f'), HasSubstr("more than the format's limit of 100000000"));
  EXPECT_THAT(fault_of(std::string("\x40\0\0\0\0\0\0\0{}", 10)),
              HasSubstr("says that its header has 64 bytes, but only 2 follow; the file is cut short"));
  EXPECT_THAT(fault_of("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), HasSubstr("git lfs pull"));
}

TEST(SafetensorsFaults, Json) {
  EXPECT_THAT(fault_of(file_text("", "")), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(fault_of(file_text(" {}", "")), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(fault_of(file_text("{\"w\":", "")), HasSubstr("not valid JSON at byte 6"));
  EXPECT_THAT(fault_of(file_text("{} {}", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(fault_of(file_text("{\"\xff\":{}}", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(fault_of(file_text("{\"w\":7}", "")), HasSubstr("entry \"w\" has the number 7 where an object was"));
  EXPECT_THAT(fault_of(file_text("{\"w\":" + std::string(100000, '['), "")), HasSubstr("has an array where an object"));
  EXPECT_THAT(fault_of(file_text(R"({"__metadata__":{"a":1}})", "")), HasSubstr("metadata \"a\" has the number 1"));
  EXPECT_THAT(fault_of(file_text(R"({"__metadata__":{"a":"","a":""}})", "")), HasSubstr("key \"a\" is given twice"));
}

TEST(SafetensorsFaults, Fields) {
  EXPECT_EQ(fault_of(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])")), "");
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[2])")), HasSubstr("tensor \"w\" has no data_offsets"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[2],"data_offsets":[0])")), HasSubstr("two data_offsets"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4,8])")), HasSubstr("a third number"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F33","shape":[2],"data_offsets":[0,8])")), HasSubstr("unknown dtype \"F33\""));
  EXPECT_THAT(fault_of(one(R"("dtype":4,"shape":[2],"data_offsets":[0,8])")), HasSubstr("the name of its dtype"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])")), HasSubstr("the number -2"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])")), HasSubstr("the number 2.0"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":"2","data_offsets":[0,8])")), HasSubstr("has a string"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[[2]],"data_offsets":[0,8])")), HasSubstr("has an array"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8])")),
              HasSubstr("more than 8 dimensions"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8])")),
              HasSubstr("the field \"dtype\" twice"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"offset":1)")),
              HasSubstr("the field \"offset\"; expected"));
  EXPECT_THAT(fault_of(file_text(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                 R"("w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                                 std::string(8, '\0'))),
              HasSubstr("the name \"w\" is given twice"));
}

TEST(SafetensorsFaults, Sizes) {
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])")),
              HasSubstr("has 8 bytes, but F32 [3] needs 12"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])")), HasSubstr("ends before it"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F4","shape":[3],"data_offsets":[0,2])")), HasSubstr("no countable number"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])")),
              HasSubstr("no countable number of bytes"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[0,9223372036854775807,9],"data_offsets":[0,0])")),
              HasSubstr("no countable number of bytes"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,0])")),
              HasSubstr("the extent 9223372036854775808"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[1e30],"data_offsets":[0,0])")), HasSubstr("the number 1e30"));
}

TEST(SafetensorsFaults, Layout) {
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])")),
              HasSubstr("the last 4 bytes belong to no tensor"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])")), HasSubstr("there is a hole"));
  EXPECT_THAT(fault_of(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,12])")),
              HasSubstr("ends at byte 12 of the data, but the file has only 8; the file is cut short"));
  EXPECT_THAT(fault_of(file_text(R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},)"
                                 R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                                 std::string(8, '\0'))),
              AllOf(HasSubstr("tensor \"b\" begins at byte 4"), HasSubstr("they overlap")));
}

TEST(SafetensorsFaults, NamesInMessagesAreHarmless) {
  EXPECT_EQ(quoted_name("a\x1b[2J\n"), "\"a\\u001b[2J\\n\"");
  EXPECT_EQ(quoted_name("\xc3\xa9\xff"), "\"\\u00e9\\ufffd\"");
  EXPECT_EQ(quoted_name(std::string(1000, 'x')).size(), 125u);
}

/// Every prefix of a good file is refused: a file cut short anywhere does not load.
TEST(SafetensorsFaults, EveryTruncation) {
  const std::string whole = base::read_file(reference("types.safetensors"));
  ASSERT_EQ(fault_of(whole), "");
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_NE(fault_of(whole.substr(0, size)), "") << size;
  EXPECT_NE(fault_of(whole + '\0'), "");
}

// ---- Writing ----

TEST_F(SafetensorsTest, WritesWhatItReads) {
  const auto path = folder_ / "a.safetensors";
  const Tensor matrix = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3}, arena_);
  const std::vector<NamedTensor> tensors{{"ids", Tensor::from<uint16_t>({1, 2, 3}, {3}, arena_)},
                                         {"matrix", matrix},
                                         {"turned", matrix.transpose(0, 1)},
                                         {"row \"0\" é", matrix.select(0, 1)},
                                         {"column", matrix.select(1, 1)},
                                         {"empty", Tensor::empty({3, 0}, DType::f64, arena_)},
                                         {"scalar", Tensor::from<int64_t>({-7}, {}, arena_)}};
  write_safetensors(path, tensors, {{{"step", "7"}, {"format", "pt"}}});
  const auto reader = SafetensorsReader::open(path);
  EXPECT_THAT(reader.names(), ElementsAre("ids", "matrix", "turned", "row \"0\" é", "column", "empty", "scalar"));
  EXPECT_EQ(reader.metadata(), (Metadata{{"step", "7"}, {"format", "pt"}}));
  EXPECT_THAT(read_as<uint16_t>(reader, "ids", arena_), ElementsAre(1, 2, 3));
  EXPECT_EQ(reader.info("turned").shape, (Shape{3, 2}));
  EXPECT_THAT(read_as<float>(reader, "turned", arena_), ElementsAre(1, 4, 2, 5, 3, 6));
  EXPECT_THAT(read_as<float>(reader, "row \"0\" é", arena_), ElementsAre(4, 5, 6));
  EXPECT_THAT(read_as<float>(reader, "column", arena_), ElementsAre(2, 5));
  EXPECT_THAT(read_as<int64_t>(reader, "scalar", arena_), ElementsAre(-7));

  write_safetensors(folder_ / "b.safetensors", tensors, {{{"step", "7"}, {"format", "pt"}}});
  EXPECT_EQ(base::read_file(path), base::read_file(folder_ / "b.safetensors"));
}

TEST_F(SafetensorsTest, SortsSoThatEveryTensorIsAligned) {
  std::vector<NamedTensor> tensors{{"b", Tensor::from<float>({1}, {1}, arena_)},
                                   {"a", Tensor::from<uint8_t>({1}, {1}, arena_)},
                                   {"d", Tensor::from<int64_t>({1}, {1}, arena_)},
                                   {"c", Tensor::from<bf16>({bf16::from(2)}, {1}, arena_)},
                                   {"e", Tensor::from<float>({3}, {1}, arena_)}};
  write_safetensors(folder_ / "a.safetensors", tensors, {.sort = true});
  const auto reader = SafetensorsReader::open(folder_ / "a.safetensors");
  EXPECT_THAT(reader.names(), ElementsAre("d", "b", "e", "c", "a"));
  for (const std::string& name : reader.names()) EXPECT_TRUE(reader.view(name)) << name;
  std::swap(tensors[0], tensors[4]);
  write_safetensors(folder_ / "b.safetensors", tensors, {.sort = true});
  EXPECT_EQ(base::read_file(folder_ / "a.safetensors"), base::read_file(folder_ / "b.safetensors"));
}

TEST_F(SafetensorsTest, RoundsToBf16WhileWriting) {
  // Longer than the writer's buffer, strided and not.
  std::vector<float> values(2 * 70001);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 1.0f + static_cast<float>(i) * 0x1p-17f;
  const Tensor tensor = Tensor::from(values, {70001, 2}, arena_);
  write_safetensors(folder_ / "a.safetensors", {{"w", tensor}, {"turned", tensor.transpose(0, 1)}},
                    {.f32_as_bf16 = true});
  const auto reader = SafetensorsReader::open(folder_ / "a.safetensors");
  EXPECT_EQ(reader.info("w").type, StoredType::bf16);
  const std::vector<float> read = read_as<float>(reader, "w", arena_);
  const std::vector<float> turned = read_as<float>(reader, "turned", arena_);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(read[i], static_cast<float>(bf16::from(values[i])));
    ASSERT_EQ(turned[(i % 2) * 70001 + i / 2], read[i]);
  }
}

TEST_F(SafetensorsTest, TheWriterHoldsItsCallerToThePlan) {
  const auto path = folder_ / "a.safetensors";
  const Tensor tensor = Tensor::from<float>({1, 2}, {2}, arena_);
  const std::vector<TensorPlan> plans{{"a", DType::f32, {2}}, {"b", DType::f32, {2}}};
  {
    SafetensorsWriter writer(path, plans, {});
    EXPECT_THAT(error_of([&] { writer.write("b", tensor); }), HasSubstr("\"b\" comes where \"a\" was planned"));
    EXPECT_THAT(error_of([&] { writer.write("a", tensor.slice(0, 0, 1)); }), HasSubstr("expected the shape [2]"));
    EXPECT_THAT(error_of([&] {
                  writer.write("a", Tensor::from<int32_t>({1, 2}, {2}, arena_));
                }),
                HasSubstr("i32 [2], which is not stored as F32"));
    writer.write("a", tensor);
    EXPECT_THAT(error_of([&] { writer.commit(); }), HasSubstr("tensor \"b\" was planned and is missing"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  EXPECT_THAT(error_of([&] { SafetensorsWriter(path, {plans[0], plans[0]}, {}); }), HasSubstr("given twice"));
  EXPECT_THAT(error_of([&] { SafetensorsWriter(path, {{"\xff", DType::f32, {1}}}, {}); }), HasSubstr("is not UTF-8"));
  EXPECT_THAT(error_of([&] {
                SafetensorsWriter(path, {{"__metadata__", DType::f32, {1}}}, {});
              }),
              HasSubstr("cannot have the name"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

/// The same tensors, order and metadata as the package: the same bytes.
TEST_F(SafetensorsTest, WritesThePackagesBytes) {
  const auto original = reference("sharded") / "model-00001-of-00002.safetensors";
  const auto reader = SafetensorsReader::open(original);
  write_safetensors(folder_ / "a.safetensors", {{"a", reader.tensor("a", arena_)}}, {{{"format", "pt"}}});
  EXPECT_EQ(base::read_file(folder_ / "a.safetensors"), base::read_file(original));
}

}  // namespace
}  // namespace fledge::models
