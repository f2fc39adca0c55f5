#include "serve/requests.h"

#include <algorithm>
#include <limits>
#include <random>

#include "base/error.h"
#include "base/json.h"
#include "serve/json_fields.h"

namespace fledge::serve {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 31;
constexpr int64_t kMostAlternatives = 100;
constexpr size_t kMostStopStrings = 16, kLongestStopString = 1024;
constexpr size_t kMostPrompts = 2048;

std::vector<std::string> parse_stop(JsonFields& fields) {
  const base::OrderedJson* stop = fields.find("stop");
  if (stop == nullptr) return {};
  std::vector<std::string> result;
  if (stop->is_string()) {
    result.push_back(stop->get<std::string>());
  } else if (stop->is_array()) {
    for (const base::OrderedJson& item : *stop) {
      if (!item.is_string()) fields.fail("stop", "a string or a list of strings");
      result.push_back(item.get<std::string>());
    }
  } else {
    fields.fail("stop", "a string or a list of strings");
  }
  // An empty string would stop every text before its beginning; clients send it for "none".
  std::erase(result, "");
  if (result.size() > kMostStopStrings) fields.fail("stop", fmt::format("at most {} strings", kMostStopStrings));
  for (const std::string& text : result) {
    if (text.size() > kLongestStopString)
      fields.fail("stop", fmt::format("strings of at most {} bytes", kLongestStopString));
  }
  return result;
}

std::vector<infer::TokenBias> parse_logit_bias(JsonFields& fields) {
  const base::OrderedJson* biases = fields.find("logit_bias");
  if (biases == nullptr) return {};
  if (!biases->is_object()) fields.fail("logit_bias", "an object from token ids to numbers");
  std::vector<infer::TokenBias> result;
  for (const auto& [key, value] : biases->items()) {
    const bool is_id =
        !key.empty() && key.size() <= 9 && std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; });
    if (!is_id || !value.is_number() || !(value.get<double>() >= -100 && value.get<double>() <= 100)) {
      throw ApiError(400,
                     fmt::format("logit_bias has \"{}\": {}, expected a token's id and a number from -100 to 100",
                                 key.substr(0, 40), shown(value)),
                     "logit_bias");
    }
    result.push_back({std::stoi(key), value.get<float>()});
  }
  return result;
}

uint64_t parse_seed(JsonFields& fields) {
  const auto seed = fields.integer("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
  if (seed) return static_cast<uint64_t>(*seed);
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

void parse_common(JsonFields& fields, TextRequest& request) {
  request.model = fields.text("model").value_or("");
  infer::SamplingOptions& sampling = request.sampling;
  sampling.temperature = fields.number("temperature", 0, 100).value_or(1);
  // So close to 0 the likeliest token is drawn always; the sampler takes no such divisor.
  if (sampling.temperature < 1e-5) sampling.temperature = 0;
  sampling.top_p = fields.number("top_p", 0, 1).value_or(1);
  if (sampling.top_p == 0) sampling.top_k = 1, sampling.top_p = 1;
  if (const auto top_k = fields.integer("top_k", -1, kMostTokens)) {
    // -1 is how some clients say "all".
    if (sampling.top_k == 0) sampling.top_k = std::max<int64_t>(*top_k, 0);
  }
  sampling.min_p = fields.number("min_p", 0, 1).value_or(0);
  sampling.repetition_penalty = fields.number("repetition_penalty", 1e-3, 1e3).value_or(1);
  sampling.frequency_penalty = fields.number("frequency_penalty", -2, 2).value_or(0);
  sampling.presence_penalty = fields.number("presence_penalty", -2, 2).value_or(0);
  sampling.logit_bias = parse_logit_bias(fields);
  sampling.seed = parse_seed(fields);
  request.stop = parse_stop(fields);
  request.answers = fields.integer("n", 1, 128).value_or(1);
  request.stream = fields.boolean("stream").value_or(false);
  if (const base::OrderedJson* options = fields.find("stream_options")) {
    JsonFields inner(*options, "stream_options.");
    request.include_usage = inner.boolean("include_usage").value_or(false);
  }
  if (const base::OrderedJson* own = fields.find("fledge")) {
    JsonFields inner(*own, "fledge.");
    request.probabilities = inner.integer("probabilities", 0, kMostAlternatives);
  }
  // Fields of OpenAI's API that change nothing here.
  fields.ignore({"user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "modalities",
                 "prediction", "reasoning_effort", "verbosity", "audio", "web_search_options", "best_of", "suffix",
                 "prompt_cache_retention", "moderation"});
}

std::string parse_content(const base::OrderedJson& content, const std::string& path) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    throw ApiError(400, fmt::format("{} is {}, expected a string or a list of parts", path, shown(content)), path);
  }
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    JsonFields part(content[i], fmt::format("{}[{}].", path, i));
    const std::string type = part.required_text("type");
    if (type != "text" && type != "refusal") part.fail("type", "\"text\": this model reads text only");
    text += part.required_text(type == "text" ? "text" : "refusal");
  }
  return text;
}

/// Arguments of a call come as a string of JSON; templates want the object, as transformers hands it to them.
base::OrderedJson parse_past_calls(const base::OrderedJson& calls, const std::string& path) {
  if (!calls.is_array()) throw ApiError(400, fmt::format("{} is {}, expected a list", path, shown(calls)), path);
  base::OrderedJson result = base::OrderedJson::array();
  for (size_t i = 0; i < calls.size(); ++i) {
    JsonFields call(calls[i], fmt::format("{}[{}].", path, i));
    JsonFields function(call.require("function"), fmt::format("{}[{}].function.", path, i));
    const std::string name = function.required_text("name");
    base::OrderedJson arguments = base::OrderedJson::object();
    if (const base::OrderedJson* given = function.find("arguments")) {
      arguments = *given;
      if (given->is_string() && !given->get_ref<const std::string&>().empty()) {
        try {
          arguments = base::parse_ordered_json(given->get_ref<const std::string&>(), "arguments");
        } catch (const base::Error&) {
          // A model may have written what is no JSON; the template then shows the text as it is.
        }
      }
    }
    result.push_back({{"id", call.text("id").value_or("")},
                      {"type", "function"},
                      {"function", {{"name", name}, {"arguments", std::move(arguments)}}}});
  }
  return result;
}

void parse_tools(JsonFields& fields, ChatRequest& request) {
  const base::OrderedJson* tools = fields.find("tools");
  if (tools == nullptr) return;
  if (!tools->is_array()) fields.fail("tools", "a list");
  if (tools->size() > 128) fields.fail("tools", "at most 128 tools");
  for (size_t i = 0; i < tools->size(); ++i) {
    JsonFields tool((*tools)[i], fmt::format("tools[{}].", i));
    if (tool.required_text("type") != "function") tool.fail("type", "\"function\"");
    JsonFields function(tool.require("function"), fmt::format("tools[{}].function.", i));
    Tool parsed{function.required_text("name"), base::OrderedJson::object()};
    if (parsed.name.empty() || parsed.name.size() > 64) function.fail("name", "a name of 1 to 64 characters");
    if (const base::OrderedJson* parameters = function.find("parameters")) {
      if (!parameters->is_object()) function.fail("parameters", "a JSON Schema (an object)");
      parsed.parameters = *parameters;
    }
    if (!parsed.parameters.contains("type")) parsed.parameters["type"] = "object";
    request.tools.push_back(std::move(parsed));
  }
  request.tool_definitions = *tools;
}

void parse_tool_choice(JsonFields& fields, ChatRequest& request) {
  request.parallel_tool_calls = fields.boolean("parallel_tool_calls").value_or(true);
  request.tool_choice = request.tools.empty() ? ToolChoice::none : ToolChoice::automatic;
  const base::OrderedJson* choice = fields.find("tool_choice");
  if (choice == nullptr) return;
  if (choice->is_string()) {
    const std::string& word = choice->get_ref<const std::string&>();
    if (word == "none") {
      request.tool_choice = ToolChoice::none;
    } else if (word == "required") {
      if (request.tools.empty()) fields.fail("tool_choice", "\"none\" or \"auto\" where there are no tools");
      request.tool_choice = ToolChoice::required;
    } else if (word != "auto") {
      fields.fail("tool_choice", "\"none\", \"auto\", \"required\" or a function's name in an object");
    }
    return;
  }
  JsonFields named(*choice, "tool_choice.");
  JsonFields function(named.require("function"), "tool_choice.function.");
  request.chosen_tool = function.required_text("name");
  const auto known = [&](const Tool& tool) { return tool.name == request.chosen_tool; };
  if (std::ranges::none_of(request.tools, known)) function.fail("name", "the name of one of the tools");
  request.tool_choice = ToolChoice::named;
}

ResponseFormat parse_response_format(JsonFields& fields) {
  const base::OrderedJson* format = fields.find("response_format");
  if (format == nullptr) return {};
  JsonFields inner(*format, "response_format.");
  const std::string type = inner.required_text("type");
  if (type == "text") return {};
  if (type == "json_object") return {base::OrderedJson{{"type", "object"}}};
  if (type != "json_schema") inner.fail("type", "\"text\", \"json_object\" or \"json_schema\"");
  JsonFields schema(inner.require("json_schema"), "response_format.json_schema.");
  const base::OrderedJson* found = schema.find("schema");
  if (found == nullptr) return {base::OrderedJson{{"type", "object"}}};
  if (!found->is_object() && !found->is_boolean()) schema.fail("schema", "a JSON Schema");
  return {*found};
}

bool is_token(const base::OrderedJson& value) {
  return value.is_number_integer() && !(value.is_number_unsigned() && value.get<uint64_t>() > INT32_MAX) &&
         value.get<int64_t>() >= 0 && value.get<int64_t>() <= INT32_MAX;
}

std::vector<Prompt> parse_prompts(JsonFields& fields, const char* key) {
  const base::OrderedJson& value = fields.require(key);
  const char* const expected = "a string, a list of strings, a list of token ids, or a list of such lists";
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array() || value.empty()) fields.fail(key, expected);
  const auto tokens_of = [&](const base::OrderedJson& list) {
    std::vector<int32_t> tokens;
    tokens.reserve(list.size());
    for (const base::OrderedJson& item : list) {
      if (!is_token(item)) fields.fail(key, expected);
      tokens.push_back(item.get<int32_t>());
    }
    return tokens;
  };
  if (value[0].is_number()) return {tokens_of(value)};
  if (value.size() > kMostPrompts) fields.fail(key, fmt::format("at most {} of them", kMostPrompts));
  std::vector<Prompt> prompts;
  for (const base::OrderedJson& item : value) {
    if (item.is_string()) {
      prompts.emplace_back(item.get<std::string>());
    } else if (item.is_array()) {
      prompts.emplace_back(tokens_of(item));
    } else {
      fields.fail(key, expected);
    }
  }
  return prompts;
}

}  // namespace

base::OrderedJson parse_messages(const base::OrderedJson& messages, const std::string& path) {
  if (!messages.is_array() || messages.empty()) {
    throw ApiError(400, fmt::format("{} is {}, expected a list of one message or more", path, shown(messages)), path);
  }
  base::OrderedJson result = base::OrderedJson::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string place = fmt::format("{}[{}].", path, i);
    JsonFields fields(messages[i], place);
    const std::string role = fields.required_text("role");
    constexpr const char* kRoles[] = {"system", "developer", "user", "assistant", "tool", "function"};
    if (std::ranges::find(kRoles, role) == std::end(kRoles)) {
      fields.fail("role", "\"system\", \"user\", \"assistant\" or \"tool\"");
    }
    // Templates know "system" alone.
    base::OrderedJson message{{"role", role == "developer" ? "system" : role}};
    const base::OrderedJson* content = fields.find("content");
    const base::OrderedJson* calls = role == "assistant" ? fields.find("tool_calls") : nullptr;
    if (content == nullptr && calls == nullptr) fields.fail("content", "a string or a list of parts");
    message["content"] = content == nullptr ? "" : parse_content(*content, place + "content");
    if (calls != nullptr && !calls->empty()) message["tool_calls"] = parse_past_calls(*calls, place + "tool_calls");
    if (const auto name = fields.text("name")) message["name"] = *name;
    if (const auto id = fields.text("tool_call_id")) message["tool_call_id"] = *id;
    if (const auto reasoning = fields.text("reasoning_content")) message["reasoning_content"] = *reasoning;
    result.push_back(std::move(message));
  }
  return result;
}

ChatRequest parse_chat_request(const base::OrderedJson& body) {
  JsonFields fields(body);
  ChatRequest request;
  parse_common(fields, request);
  request.messages = parse_messages(fields.require("messages"), "messages");
  request.max_tokens = fields.integer("max_completion_tokens", 1, kMostTokens);
  const auto older = fields.integer("max_tokens", 1, kMostTokens);
  if (!request.max_tokens) request.max_tokens = older;
  const bool log_probabilities = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, kMostAlternatives);
  if (top.value_or(0) > 0 && !log_probabilities) fields.fail("top_logprobs", "\"logprobs\": true beside it");
  if (log_probabilities) request.top_log_probabilities = top.value_or(0);
  parse_tools(fields, request);
  parse_tool_choice(fields, request);
  request.format = parse_response_format(fields);
  request.continue_final_message = fields.boolean("continue_final_message").value_or(false);
  request.add_generation_prompt = fields.boolean("add_generation_prompt").value_or(!request.continue_final_message);
  if (request.continue_final_message) {
    if (request.add_generation_prompt) fields.fail("add_generation_prompt", "false beside continue_final_message");
    if (request.messages.back()["role"] != "assistant") {
      fields.fail("continue_final_message", "false where the last message is not the assistant's");
    }
  }
  if (const base::OrderedJson* arguments = fields.find("chat_template_kwargs")) {
    if (!arguments->is_object()) fields.fail("chat_template_kwargs", "an object");
    request.template_arguments = *arguments;
  }
  request.ignored = fields.unknown();
  return request;
}

CompletionRequest parse_completion_request(const base::OrderedJson& body) {
  JsonFields fields(body);
  CompletionRequest request;
  parse_common(fields, request);
  request.prompts = parse_prompts(fields, "prompt");
  request.max_tokens = fields.integer("max_tokens", 0, kMostTokens).value_or(16);
  request.echo = fields.boolean("echo").value_or(false);
  // Completions have a number here; `true` is what clients of chat completions send.
  if (const base::OrderedJson* top = fields.find("logprobs"); top != nullptr && top->is_boolean()) {
    if (top->get<bool>()) request.top_log_probabilities = 0;
  } else {
    request.top_log_probabilities = fields.integer("logprobs", 0, kMostAlternatives);
  }
  if (const auto suffix = fields.text("suffix"); suffix && !suffix->empty()) {
    fields.fail("suffix", "nothing: models here continue a text and do not fill a gap in it");
  }
  const auto best_of = fields.integer("best_of", 1, 128);
  if (best_of && *best_of != request.answers) fields.fail("best_of", "the same number as n");
  request.ignored = fields.unknown();
  return request;
}

EmbeddingRequest parse_embedding_request(const base::OrderedJson& body) {
  JsonFields fields(body);
  EmbeddingRequest request;
  request.model = fields.text("model").value_or("");
  request.inputs = parse_prompts(fields, "input");
  request.dimensions = fields.integer("dimensions", 1, 1 << 20);
  const std::string format = fields.text("encoding_format").value_or("float");
  if (format != "float" && format != "base64") fields.fail("encoding_format", "\"float\" or \"base64\"");
  request.base64 = format == "base64";
  return request;
}

}  // namespace fledge::serve
