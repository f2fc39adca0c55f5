// The functions that every template has.
#include <chrono>
#include <ctime>

#include "nn/text/jinja/interpreter.h"

namespace fledge::nn::jinja {
namespace {

constexpr int64_t kMaximumRange = 100000;  // as Jinja's sandbox

Value range(Interpreter& interpreter, const Arguments& arguments) {
  const auto bound = arguments.bind("range", {"start", "stop", "step"}, 1);
  const int64_t first = to_integer(*bound[0], "the argument of range");
  const int64_t start = bound[1] ? first : 0;
  const int64_t stop = bound[1] ? to_integer(*bound[1], "the end of range") : first;
  const int64_t step = bound[2] ? to_integer(*bound[2], "the step of range") : 1;
  if (step == 0) throw Fault("the step of range is zero");
  std::vector<Value> items;
  for (int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (static_cast<int64_t>(items.size()) >= kMaximumRange)
      throw Fault("a range of more than {} numbers", kMaximumRange);
    items.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return make_list(std::move(items), interpreter.budget());
}

/// dict(mapping, key=value, ...), also for namespace().
Dict collect(Interpreter& interpreter, const Arguments& arguments) {
  if (arguments.positional.size() > 1) throw Fault("dict takes at most one argument without a name");
  Dict dict;
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is(Kind::dict)) {
      dict = source.dict();
    } else {
      for (const Value& pair : interpreter.iterate(source)) {
        const std::vector<Value> parts = interpreter.iterate(pair);
        if (parts.size() != 2) throw Fault("dict needs pairs of a key and a value");
        dict.set(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) dict.set(Value(name), value);
  return dict;
}

Value new_namespace(Interpreter& interpreter, const Arguments& arguments) {
  const auto space = interpreter.new_namespace();
  const Dict dict = collect(interpreter, arguments);
  interpreter.budget().spend(dict.entries.size());
  for (const auto& [key, value] : dict.entries) space->values[to_string(key, "a name in a namespace")] = value;
  return Value(std::shared_ptr<Object>(space));
}

Value raise_exception(Interpreter&, const Arguments& arguments) {
  throw Refusal("{}", to_text(*arguments.bind("raise_exception", {"message"}, 1)[0]));
}

Value strftime_now(Interpreter& interpreter, const Arguments& arguments) {
  const std::string format = to_string(*arguments.bind("strftime_now", {"format"}, 1)[0], "the format of strftime_now");
  if (format.empty()) return Value("");
  interpreter.budget().make_text(format.size() * 32);
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  localtime_r(&now, &parts);
  std::string text(format.size() * 32 + 64, '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &parts));
  return Value(std::move(text));
}

/// cycler(...): next(), reset() and current.
class Cycler : public Object, public std::enable_shared_from_this<Cycler> {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {}
  std::string type_name() const override { return "Cycler"; }
  std::optional<Value> attribute(Interpreter&, std::string_view name) override {
    if (name == "current") return items_[at_];
    if (name != "next" && name != "reset") return std::nullopt;
    return make_function(std::string(name),
                         [self = shared_from_this(), moves = name == "next"](Interpreter&, const Arguments&) {
                           const size_t at = self->at_;
                           self->at_ = moves ? (at + 1) % self->items_.size() : 0;
                           return moves ? self->items_[at] : Value();
                         });
  }

 private:
  std::vector<Value> items_;
  size_t at_ = 0;
};

/// joiner(separator): nothing at the first call, the separator afterwards.
Value joiner(Interpreter&, const Arguments& arguments) {
  const Value separator = arguments.bind("joiner", {"sep"})[0].value_or(Value(", "));
  return make_function("joiner", [separator, used = std::make_shared<bool>(false)](Interpreter&, const Arguments&) {
    return std::exchange(*used, true) ? separator : Value("");
  });
}

}  // namespace

const std::map<std::string, Value, std::less<>>& global_variables() {
  static const std::map<std::string, Value, std::less<>> table = {
      {"range", make_function("range", range)},
      {"dict",
       make_function("dict", [](Interpreter& i, const Arguments& a) { return make_dict(collect(i, a), i.budget()); })},
      {"namespace", make_function("namespace", new_namespace)},
      {"raise_exception", make_function("raise_exception", raise_exception)},
      {"strftime_now", make_function("strftime_now", strftime_now)},
      {"joiner", make_function("joiner", joiner)},
      {"cycler", make_function("cycler",
                               [](Interpreter&, const Arguments& a) {
                                 if (a.positional.empty()) throw Fault("cycler needs at least one value");
                                 return Value(std::shared_ptr<Object>(std::make_shared<Cycler>(a.positional)));
                               })},
  };
  return table;
}

}  // namespace fledge::nn::jinja
