#include "nn/rotary.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace fledge::nn {
namespace {

TEST(Rotary, FrequenciesAreThoseOfTransformers) {
  const base::Json cases = base::read_json(std::string(FLEDGE_REFERENCE_DIR) + "/rotary.json");
  ASSERT_GE(cases.size(), 10U);
  for (const auto& [name, one] : cases.items()) {
    SCOPED_TRACE(name);
    const auto expected = one["inverse_frequencies"].get<std::vector<double>>();
    RotarySettings settings = RotarySettings::from_json(one["config"], one["context"], name);
    // The second time round from what was written.
    for (const char* reader : {"both", "new", "old"}) {
      SCOPED_TRACE(reader);
      const RotaryFrequencies got = rotary_frequencies(settings, one["head_size"]);
      ASSERT_EQ(got.inverse.size(), expected.size());
      for (size_t index = 0; index < expected.size(); ++index) {
        // A power and a quotient in f32, each within a unit in the last place there and here.
        EXPECT_NEAR(got.inverse[index], expected[index], 3 * 0x1p-23 * expected[index]) << index;
      }
      EXPECT_NEAR(got.attention_factor, one["attention_factor"].get<double>(), 1e-12);
      base::Json written;
      settings.to_json(written);
      if (std::string(reader) == "both") written.erase("rope_parameters");
      if (std::string(reader) == "new") {
        written.erase("rope_theta");
        written.erase("rope_scaling");
      }
      settings = RotarySettings::from_json(written, one["context"], name);
    }
  }
}

TEST(Rotary, RefusesWhatItCannotCompute) {
  const auto refuse = [](const char* text, const char* sentence) {
    try {
      RotarySettings::from_json(base::parse_json(text, "test"), 2048, "config.json");
      FAIL() << text;
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(sentence));
    }
  };
  refuse(R"({"rope_scaling": {"rope_type": "longrope"}})", "\"longrope\" are not supported");
  refuse(R"({"rope_scaling": "linear"})", "rope_scaling");
  refuse(R"({"rope_scaling": {"type": "linear"}})", "factor");
  refuse(R"({"rope_scaling": {"type": "linear", "factor": "two"}})", "factor");
  refuse(R"({"rope_theta": 0})", "rope_theta");
  refuse(R"({"rope_theta": 1})", "rope_theta");
  refuse(R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor");
  refuse(R"({"rope_scaling": {"type": "yarn", "factor": 2, "original_max_position_embeddings": 0}})", "original_max");
  refuse(R"({"rope_scaling": {"type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 4}})",
         "high_freq_factor");
}

}  // namespace
}  // namespace fledge::nn
