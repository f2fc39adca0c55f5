#include "tensor/quantized_matmul.h"

#include "tensor/cpu/quantized_driver.h"
#include "tensor/float16.h"
#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

constexpr BlockType kTypes[] = {BlockType::q8_0, BlockType::q4_0, BlockType::q4_1,
                                BlockType::q4_k, BlockType::q6_k, BlockType::q5_0};

/// Runs `body(kernel)` with every kernel that works here.
template <typename Body>
void on_every_kernel(const Body& body) {
  for (const cpu::QuantizedKernel* kernel : cpu::all_quantized_kernels()) {
    SCOPED_TRACE(std::string(kernel->name));
    body(*kernel);
  }
}

Tensor product(const cpu::QuantizedKernel& kernel, const Tensor& a, const QuantizedMatrix& w) {
  Tensor out = Tensor::empty({a.dim(0), w.columns}, DType::f32, arena());
  cpu::TileEpilogue epilogue;
  epilogue.out = out.raw();
  epilogue.out_stride = out.stride(0);
  const cpu::QuantizedPart part{w.type, w.columns, w.bytes.raw(), epilogue};
  cpu::multiply(kernel, {a.raw(), a.dtype(), a.dim(0), a.dim(1), a.stride(0)}, {&part, 1});
  return out;
}

float half_rounded(float value) {
  return std::fabs(value) >= 0x1p-14f ? from_f16(to_f16(value)) : value;
}

/// The activations as a product of that type sees them, by the plain definition.
std::vector<double> rounded_activations(const Tensor& a, BlockType type) {
  std::vector<double> result = values_of(a);
  const auto block = static_cast<size_t>(block_elements(type));
  for (size_t start = 0; start < result.size(); start += block) {
    float largest = 0;
    for (size_t i = start; i < start + block; ++i)
      largest = std::max(largest, std::fabs(static_cast<float>(result[i])));
    const float factor = largest > 0 ? 127.0f / largest : 0.0f;
    const float step = block == 32 ? half_rounded(largest / 127.0f) : factor > 0 ? 1.0f / factor : 0.0f;
    for (size_t i = start; i < start + block; ++i) {
      result[i] = std::nearbyint(static_cast<float>(result[i]) * factor) * double{step};
    }
  }
  return result;
}

/// a * w^T in f64 from the rounded activations and the dequantized weight, and the sum of magnitudes of what is added.
struct Reference {
  std::vector<double> values, magnitudes;
};

Reference reference_product(const std::vector<double>& a, int64_t rows, const BlockMatrix& w) {
  Tensor weight = Tensor::empty({w.rows, w.columns}, DType::f32, arena());
  dequantize(w, weight);
  Reference result;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < w.rows; ++column) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < w.columns; ++k) {
        const double left = a[static_cast<size_t>(row * w.columns + k)];
        const double term = left * double{weight.data<float>()[column * w.columns + k]};
        sum += term;
        magnitude += std::fabs(term);
      }
      result.values.push_back(sum);
      result.magnitudes.push_back(magnitude);
    }
  }
  return result;
}

/// What a row adds besides the terms themselves: the minimum of a block and the numbers without it are added apart.
double minimum_share(BlockType type) {
  return type == BlockType::q4_1 || type == BlockType::q4_k ? 4 : 1;
}

TEST(QuantizedMatmul, AddsTheProductsOfRoundedActivations) {
  on_every_kernel([&](const cpu::QuantizedKernel& kernel) {
    for (const BlockType type : kTypes) {
      SCOPED_TRACE(name_of(type));
      const int64_t block = block_elements(type);
      for (const auto& [rows, columns, blocks] : std::vector<std::array<int64_t, 3>>{
               {1, 1, 1}, {2, 16, 3}, {3, 17, 2}, {7, 50, 1}, {12, 33, 2}, {45, 40, 3}}) {
        SCOPED_TRACE(fmt::format("{} rows, {} outputs, {} blocks", rows, columns, blocks));
        const int64_t depth = block * blocks;
        const Tensor a = make_normal({rows, depth}, DType::f32, 1, 0.1, 2);
        const BlockMatrix w = quantize(make_normal({columns, depth}, DType::f32, 2, 0.05), type, arena());
        const Tensor out = product(kernel, a, pack(w, arena()));
        const Reference expected = reference_product(rounded_activations(a, type), rows, w);
        // Sums in a block are exact. Each group adds two or three times in f32, its scale is rounded twice and, in
        // types with a minimum, the sum of a group's activations is rounded to f16 (2^-11), which its minimum carries.
        const auto additions = static_cast<double>(3 * depth / 32 + 4);
        const double halves = type == BlockType::q4_1 ? 0x1p-11 : 0;
        for (size_t i = 0; i < expected.values.size(); ++i) {
          const double bound = (additions * 0x1p-24 + halves) * minimum_share(type) * expected.magnitudes[i] + 1e-6;
          ASSERT_NEAR(out.data<float>()[i], expected.values[i], bound) << i;
        }
      }
    }
  });
}

TEST(QuantizedMatmul, LosesNoMoreThanTheRoundingOfActivations) {
  // Half a step of each block's scale for every element, and 2^-12 of the element from the scale in f16.
  for (const BlockType type : kTypes) {
    SCOPED_TRACE(name_of(type));
    const int64_t rows = 5, columns = 19, depth = 512, block = block_elements(type);
    const Tensor a = make_normal({rows, depth}, DType::f32, 3);
    const BlockMatrix w = quantize(make_normal({columns, depth}, DType::f32, 4), type, arena());
    Tensor weight = Tensor::empty({columns, depth}, DType::f32, arena());
    dequantize(w, weight);
    Tensor out = Tensor::empty({rows, columns}, DType::f32, arena());
    matmul(a, pack(w, arena()), out);
    const Reference expected = reference_product(values_of(a), rows, w);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        double bound = 1e-5;
        for (int64_t start = 0; start < depth; start += block) {
          double largest = 0, magnitude = 0;
          for (int64_t k = start; k < start + block; ++k) {
            largest = std::max(largest, std::fabs(double{a.data<float>()[row * depth + k]}));
            magnitude += std::fabs(double{weight.data<float>()[column * depth + k]});
          }
          bound += magnitude * largest * (0.5 / 127 + 0x1p-11) * 1.001;
        }
        const auto i = static_cast<size_t>(row * columns + column);
        ASSERT_NEAR(out.data<float>()[i], expected.values[i], bound);
      }
    }
  }
}

TEST(QuantizedMatmul, GivesARowTheSameBitsInEveryBatch) {
  on_every_kernel([&](const cpu::QuantizedKernel& kernel) {
    for (const BlockType type : kTypes) {
      SCOPED_TRACE(name_of(type));
      const int64_t rows = 77, columns = 262, depth = 256;
      const Tensor a = make_normal({rows, depth}, DType::f32, 5);
      const QuantizedMatrix w = pack(quantize(make_normal({columns, depth}, DType::f32, 6), type, arena()), arena());
      const std::string all = bits_of(product(kernel, a, w));
      with_thread_counts([&] { ASSERT_EQ(bits_of(product(kernel, a, w)), all); });
      for (const int64_t count : {1, 2, 3, 4, 5, 8, 11, 12, 13, 15, 16, 17, 31, 32, 33, 47}) {
        for (const int64_t first : {int64_t{0}, int64_t{19}}) {
          const std::string some = bits_of(product(kernel, a.slice(0, first, count), w));
          const auto row_bytes = static_cast<size_t>(columns) * sizeof(float);
          ASSERT_EQ(some, all.substr(static_cast<size_t>(first) * row_bytes, some.size()))
              << count << " from " << first;
        }
      }
    }
  });
}

TEST(QuantizedMatmul, HasNoSumThatOverflows) {
  // All numbers at their ends, activations too.
  on_every_kernel([&](const cpu::QuantizedKernel& kernel) {
    for (const BlockType type : kTypes) {
      SCOPED_TRACE(name_of(type));
      const int64_t depth = 256, columns = 16;
      BlockMatrix w = quantize(make_normal({columns, depth}, DType::f32, 6), type, arena());
      const int64_t stride = static_cast<int64_t>(row_bytes(type, depth));
      for (const int number : {0x00, 0x80, 0xff, 0x7f, 0x88}) {
        for (int64_t row = 0; row < columns; ++row) {
          // Keep the f16 scales of the types, fill everything else of the numbers.
          auto* bytes = reinterpret_cast<uint8_t*>(w.bytes.raw() + row * stride);
          const auto block = static_cast<int64_t>(block_bytes(type));
          for (int64_t i = 0; i < stride; ++i) {
            const int64_t at = i % block;
            const bool is_number = type == BlockType::q8_0 || type == BlockType::q4_0 || type == BlockType::q5_0
                                       ? at >= 2
                                   : type == BlockType::q4_1 ? at >= 4
                                   : type == BlockType::q4_k ? at >= 16
                                                             : at < 192;
            if (is_number) bytes[i] = static_cast<uint8_t>(number);
          }
        }
        for (const double sign : {-3.0, 3.0}) {
          const Tensor a = make(std::vector<double>(static_cast<size_t>(20 * depth), sign), {20, depth}, DType::f32);
          const Tensor out = product(kernel, a, pack(w, arena()));
          const Reference expected = reference_product(rounded_activations(a, type), 20, w);
          for (size_t i = 0; i < expected.values.size(); ++i) {
            const double bound = (32 * 0x1p-24 + (type == BlockType::q4_1 ? 0x1p-11 : 0)) * 4 * expected.magnitudes[i];
            ASSERT_NEAR(out.data<float>()[i], expected.values[i], bound + 1e-6) << number << " " << sign;
          }
        }
      }
    }
  });
}

TEST(QuantizedMatmul, UsesQ5AsTheQ8OfTheSameValues) {
  const BlockMatrix narrow = quantize(make_normal({20, 96}, DType::f32, 8), BlockType::q5_0, arena());
  BlockMatrix wide{BlockType::q8_0, 20, 96, Tensor::empty({20 * 3 * 34}, DType::u8, arena())};
  std::array<float, 32> values;
  for (size_t block = 0; block < 60; ++block) {
    const std::byte* from = narrow.bytes.raw() + block * 22;
    std::byte* to = wide.bytes.raw() + block * 34;
    std::memcpy(to, from, 2);  // the scale
    uint16_t bits = 0;
    std::memcpy(&bits, from, 2);
    dequantize_row(BlockType::q5_0, from, values.data(), 32);
    for (size_t i = 0; i < 32; ++i) to[2 + i] = static_cast<std::byte>(std::lround(values[i] / from_f16(bits)));
  }
  const QuantizedMatrix packed = pack(narrow, arena()), expected = pack(wide, arena());
  EXPECT_EQ(packed.type, BlockType::q8_0);
  EXPECT_EQ(packed.bytes.bytes(), packed_bytes(BlockType::q5_0, 20, 96));
  EXPECT_EQ(packed.bytes.to_vector<uint8_t>(), expected.bytes.to_vector<uint8_t>());
}

TEST(QuantizedMatmul, TakesBf16AndStridedRows) {
  const Tensor wide = make_normal({6, 600}, DType::bf16, 7);
  const Tensor a = wide.slice(1, 24, 512);
  const Tensor plain = make(
      [&] {
        std::vector<double> values;
        for (int64_t row = 0; row < 6; ++row) {
          for (int64_t k = 0; k < 512; ++k) values.push_back(wide.data<bf16>()[row * 600 + 24 + k]);
        }
        return values;
      }(),
      {6, 512}, DType::f32);
  for (const BlockType type : kTypes) {
    const QuantizedMatrix w = pack(quantize(make_normal({40, 512}, DType::f32, 8), type, arena()), arena());
    Tensor from_bf16 = Tensor::empty({6, 40}, DType::f32, arena()),
           from_f32 = Tensor::empty({6, 40}, DType::f32, arena());
    matmul(a, w, from_bf16);
    matmul(plain, w, from_f32);
    EXPECT_EQ(bits_of(from_bf16), bits_of(from_f32)) << name_of(type);
  }
}

TEST(QuantizedMatmul, QuantizesAlikeOnEveryInstructionSet) {
  const Tensor a = make_normal({3, 512}, DType::f32, 7);
  for (const BlockType type : kTypes) {
    const QuantizedMatrix w = pack(quantize(make_normal({40, 512}, DType::f32, 8), type, arena()), arena());
    Tensor expected = Tensor::empty({3, 40}, DType::f32, arena()), out = Tensor::empty({3, 40}, DType::f32, arena());
    matmul(a, w, expected);
    on_every_target([&] {
      matmul(a, w, out);
      EXPECT_EQ(bits_of(out), bits_of(expected)) << name_of(type);
    });
  }
}

TEST(QuantizedMatmul, AppliesTheEpilogue) {
  const int64_t rows = 14, columns = 300, depth = 64;
  const Tensor a = make_normal({rows, depth}, DType::f32, 9);
  const QuantizedMatrix w =
      pack(quantize(make_normal({columns, depth}, DType::f32, 10), BlockType::q8_0, arena()), arena());
  const auto output = [&](DType dtype) { return Tensor::empty({rows, columns}, dtype, arena()); };
  Tensor sums = output(DType::f32), out = output(DType::f32), rounded = output(DType::bf16);
  matmul(a, w, sums);
  Epilogue epilogue;
  epilogue.bias = make_normal({columns}, DType::f32, 11);
  epilogue.activation = Activation::gelu_exact;
  epilogue.residual = make_normal({rows, columns}, DType::f32, 12);
  matmul(a, w, out, epilogue);
  matmul(a, w, rounded);
  Tensor added = make_normal({rows, columns}, DType::f32, 13);
  const std::vector<double> before = values_of(added);
  Epilogue accumulate;
  accumulate.accumulate = true;
  matmul(a, w, added, accumulate);
  for (int64_t i = 0; i < rows * columns; ++i) {
    const float sum = sums.data<float>()[i];
    const double x = double{sum} + double{epilogue.bias.data<float>()[i % columns]};
    const double expected = 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))) + double{epilogue.residual.data<float>()[i]};
    ASSERT_NEAR(out.data<float>()[i], expected, 4e-6 * (1 + std::fabs(x)));
    ASSERT_EQ(rounded.data<bf16>()[i].bits, bf16::from(sum).bits);
    ASSERT_EQ(added.data<float>()[i], static_cast<float>(before[static_cast<size_t>(i)]) + sum);
  }
}

TEST(QuantizedMatmul, GivesAGroupTheSameBitsAsOneByOne) {
  for (const int64_t rows : {1, 5, 40}) {
    const Tensor a = make_normal({rows, 256}, DType::f32, 9);
    std::vector<QuantizedMatrix> weights;
    std::vector<QuantizedProduct> products;
    for (const BlockType type : kTypes) {
      const int64_t columns = 70 + 100 * static_cast<int64_t>(weights.size());
      weights.push_back(pack(quantize(make_normal({columns, 256}, DType::f32, 10), type, arena()), arena()));
    }
    for (const QuantizedMatrix& weight : weights) {
      products.push_back({&weight, Tensor::empty({rows, weight.columns}, DType::f32, arena())});
    }
    with_thread_counts([&] {
      matmul_group(a, products);
      for (const QuantizedProduct& each : products) {
        Tensor alone = Tensor::empty({rows, each.weight->columns}, DType::f32, arena());
        matmul(a, *each.weight, alone);
        ASSERT_EQ(bits_of(each.out), bits_of(alone)) << name_of(each.weight->type);
      }
    });
  }
}

TEST(QuantizedMatmul, KeepsTinyAndHugeActivations) {
  // Scales that f16 cannot hold.
  for (const BlockType type : kTypes) {
    const BlockMatrix w = quantize(make_normal({20, 256}, DType::f32, 10), type, arena());
    for (const double size : {1e-30, 1e-9, 1e9, 1e30}) {
      const Tensor a = make_normal({3, 256}, DType::f32, 3, 0, size);
      Tensor out = Tensor::empty({3, 20}, DType::f32, arena());
      matmul(a, pack(w, arena()), out);
      const Reference expected = reference_product(values_of(a), 3, w);
      for (size_t i = 0; i < expected.values.size(); ++i) {
        ASSERT_NEAR(out.data<float>()[i], expected.values[i], 0.02 * expected.magnitudes[i]) << name_of(type) << size;
      }
    }
  }
}

TEST(QuantizedMatmul, SpreadsWhatIsNotANumberOverItsRowAlone) {
  for (const BlockType type : kTypes) {
    const QuantizedMatrix w = pack(quantize(make_normal({20, 256}, DType::f32, 10), type, arena()), arena());
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      const Tensor a = make_normal({3, 256}, DType::f32, 3);
      a.data<float>()[256 + 77] = bad;
      Tensor out = Tensor::empty({3, 20}, DType::f32, arena());
      matmul(a, w, out);
      for (int64_t i = 0; i < 60; ++i) {
        ASSERT_EQ(std::isfinite(out.data<float>()[i]), i / 20 != 1) << name_of(type);
      }
    }
  }
}

TEST(QuantizedMatmul, RefusesWhatDoesNotFit) {
  const QuantizedMatrix w = pack(quantize(make_normal({20, 64}, DType::f32, 10), BlockType::q4_0, arena()), arena());
  Tensor out = Tensor::empty({2, 20}, DType::f32, arena());
  EXPECT_ERROR(matmul(make_normal({2, 96}, DType::f32, 1), w, out), "inner extents differ");
  EXPECT_ERROR(matmul(make_normal({3, 64}, DType::f32, 1), w, out), "output");
  EXPECT_ERROR(matmul(make_normal({2, 64}, DType::f64, 1), w, out), "left operand");
  EXPECT_ERROR(matmul(make_normal({64, 2}, DType::f32, 1).transpose(0, 1), w, out), "stand together");
  EXPECT_ERROR(matmul(make_normal({2, 64}, DType::f32, 1), QuantizedMatrix{}, out), "never packed");
  BlockMatrix broken = quantize(make_normal({20, 64}, DType::f32, 10), BlockType::q4_0, arena());
  broken.rows = 21;
  EXPECT_ERROR(pack(broken, arena()), "matrix");
}

TEST(QuantizedMatmul, NeedsNoMemoryOnTheMetaDevice) {
  Arena meta("meta", Device::meta);
  const BlockMatrix matrix = quantize(Tensor::empty({100, 256}, DType::f32, meta), BlockType::q6_k, meta);
  const QuantizedMatrix w = pack(matrix, meta);
  EXPECT_EQ(w.bytes.bytes(), packed_bytes(BlockType::q6_k, 100, 256));
  Tensor out = Tensor::empty({3, 100}, DType::f32, meta);
  matmul(Tensor::empty({3, 256}, DType::f32, meta), w, out);
}

}  // namespace
}  // namespace fledge::tensor
