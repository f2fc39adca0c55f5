#include "tensor/cpu/attention_pages.h"

#include "base/parallel.h"

namespace fledge::tensor::cpu {
namespace {

int64_t whole_panels(int64_t count, int64_t lanes) {
  return (count + lanes - 1) / lanes;
}

/// f32, or the same value in bf16 where the panels hold rounded f32: no conversion loses anything.
float to_panel(float value, float) {
  return value;
}
bf16 to_panel(bf16 value, bf16) {
  return value;
}
float to_panel(bf16 value, float) {
  return convert<float>(value);
}

/// One token of one head into its places in a page.
template <typename From, typename To>
void store_token(const PageLayout& layout, const From* key, const From* value, int64_t token, To* keys, To* values) {
  // Padding, and tokens that have not come yet, count as zero.
  if (token == 0) {
    std::fill_n(keys, layout.key_elements, To{});
    std::fill_n(values, layout.value_elements, To{});
  }
  // Neighbours in depth, or in columns, stand at even distances: addresses are counted on instead of worked out anew.
  const int64_t group = layout.pairs ? 2 : 1;
  To* place = keys + layout.key_at(token, 0);
  for (int64_t d = 0; d < layout.key_size; d += group, place += group * layout.lanes) {
    place[0] = to_panel(key[d], To{});
    if (group == 2 && d + 1 < layout.key_size) place[1] = to_panel(key[d + 1], To{});
  }
  for (int64_t first = 0; first < layout.value_size; first += layout.lanes) {
    place = values + layout.value_at(token, first);
    const int64_t end = std::min(first + layout.lanes, layout.value_size);
    for (int64_t column = first; column < end; ++column, place += group) *place = to_panel(value[column], To{});
  }
}

template <typename Body>
void with_types(DType dtype, DType operand, const Body& body) {
  if (dtype == DType::f32) {
    body(float{}, float{});
  } else if (operand == DType::f32) {
    body(bf16{}, float{});
  } else {
    body(bf16{}, bf16{});
  }
}

template <typename To>
To from_panel(float value) {
  return convert<To>(value);
}
template <typename To>
To from_panel(bf16 value) {
  return value;
}

}  // namespace

PageLayout::PageLayout(const AttentionBlocks& blocks, int64_t keys, int64_t values)
    : key_size(keys),
      value_size(values),
      lanes(blocks.kernel.columns),
      tokens(blocks.key_block),
      key_panel(blocks.kernel.padded_depth(keys) * lanes),
      value_panel(blocks.kernel.padded_depth(tokens) * lanes),
      key_elements(whole_panels(tokens, lanes) * key_panel),
      value_elements(whole_panels(values, lanes) * value_panel),
      operand(blocks.kernel.a_operand),
      pairs(operand == DType::bf16) {}

void AttentionPages::store(const AttentionView& k, const AttentionView& v, DType dtype, int64_t length,
                           int64_t count) const {
  // A page is cleared with its first token, so one thread stores a head's tokens of a page.
  const int64_t first_page = length / layout.tokens, end_page = (length + count - 1) / layout.tokens + 1;
  constexpr int64_t kFewTokens = 64;
  const int64_t items = (end_page - first_page) * heads;
  base::parallel_for(items, count < kFewTokens ? items : 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      store_page(k, v, dtype, length, count, item % heads, first_page + item / heads);
    }
  });
}

void AttentionPages::store_head(const AttentionView& k, const AttentionView& v, DType dtype, int64_t length,
                                int64_t count, int64_t head) const {
  for (int64_t page = length / layout.tokens; page * layout.tokens < length + count; ++page) {
    store_page(k, v, dtype, length, count, head, page);
  }
}

void AttentionPages::store_page(const AttentionView& k, const AttentionView& v, DType dtype, int64_t length,
                                int64_t count, int64_t head, int64_t page) const {
  with_types(dtype, layout.operand, [&](auto from, auto to) {
    using From = decltype(from);
    using To = decltype(to);
    const int64_t last = std::min(length + count, (page + 1) * layout.tokens);
    for (int64_t token = std::max(length, page * layout.tokens); token < last; ++token) {
      store_token(layout, k.row<From>(0, token - length, head), v.row<From>(0, token - length, head),
                  token % layout.tokens, reinterpret_cast<To*>(head_of(keys, layout.key_elements, token, head)),
                  reinterpret_cast<To*>(head_of(values, layout.value_elements, token, head)));
    }
  });
}

void AttentionPages::plan_reading(int64_t head, int64_t tokens, ReadAhead& plan) const {
  for (int64_t key = 0; key < tokens; key += layout.tokens) {
    const int64_t count = std::min(layout.tokens, tokens - key);
    plan.add(key_panel(head, key), whole_panels(count, layout.lanes) * layout.key_panel * element_bytes());
    for (int64_t column = 0; column < layout.value_size; column += layout.lanes) {
      plan.add(value_panel(head, key, column), (count + 1) / 2 * 2 * layout.lanes * element_bytes());
    }
  }
}

void AttentionPages::load_keys(int64_t head, int64_t key, int64_t count, DType dtype, std::byte* rows) const {
  with_types(dtype, layout.operand, [&](auto to, auto from) {
    using To = decltype(to);
    const auto* panels = reinterpret_cast<const decltype(from)*>(head_of(keys, layout.key_elements, key, head));
    auto* target = reinterpret_cast<To*>(rows);
    const int64_t group = layout.pairs ? 2 : 1;
    for (int64_t token = 0; token < count; ++token) {
      const auto* place = panels + layout.key_at(key % layout.tokens + token, 0);
      for (int64_t d = 0; d < layout.key_size; d += group, place += group * layout.lanes) {
        *target++ = from_panel<To>(place[0]);
        if (group == 2 && d + 1 < layout.key_size) *target++ = from_panel<To>(place[1]);
      }
    }
  });
}

void AttentionPages::load_values(int64_t head, int64_t key, int64_t count, DType dtype, std::byte* rows) const {
  with_types(dtype, layout.operand, [&](auto to, auto from) {
    using To = decltype(to);
    const auto* panels = reinterpret_cast<const decltype(from)*>(head_of(values, layout.value_elements, key, head));
    auto* target = reinterpret_cast<To*>(rows);
    for (int64_t token = 0; token < count; ++token) {
      for (int64_t first = 0; first < layout.value_size; first += layout.lanes) {
        const auto* place = panels + layout.value_at(key % layout.tokens + token, first);
        const int64_t end = std::min(first + layout.lanes, layout.value_size), step = layout.pairs ? 2 : 1;
        for (int64_t column = first; column < end; ++column, place += step) *target++ = from_panel<To>(*place);
      }
    }
  });
}

}  // namespace fledge::tensor::cpu
