#include "train/data/convert_corpus.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "train/data/rdb_reader.h"
#include "train/data/text_encoding.h"

namespace fledge::train {
namespace {

namespace filesystem = std::filesystem;

constexpr size_t kMaximumDictionary = size_t{1} << 30;

struct Novel {
  const char *variable, *title;
};
constexpr Novel kNovels[] = {
    {"sensesensibility", "Sense and Sensibility"}, {"prideprejudice", "Pride and Prejudice"},
    {"mansfieldpark", "Mansfield Park"},           {"emma", "Emma"},
    {"northangerabbey", "Northanger Abbey"},       {"persuasion", "Persuasion"},
};

std::string_view without_empty_lines_at_end(std::string_view text) {
  const size_t last = text.find_last_not_of(" \n");
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

std::string json_line(const base::OrderedJson& json) {
  return json.dump() + "\n";
}

}  // namespace

void convert_austen(const filesystem::path& root, const filesystem::path& out) {
  const auto vectors = read_r_database(root / "usr/lib/R/site-library/janeaustenr/data/Rdata");
  base::AtomicFile plain(out / "austen.txt"), lines(out / "austen.jsonl");
  bool is_first = true;
  for (const Novel& novel : kNovels) {
    const auto found = vectors.find(novel.variable);
    if (found == vectors.end()) throw base::Error("the package r-cran-janeaustenr holds no \"{}\"", novel.variable);
    std::string joined;
    for (const std::string& line : found->second) joined += line + "\n";
    const std::string text = std::string(without_empty_lines_at_end(joined)) + "\n";
    if (!is_first) plain.write("\n\n\n");
    plain.write(text);
    lines.write(json_line({{"title", novel.title}, {"text", text}}));
    is_first = false;
  }
  plain.commit();
  lines.commit();
}

void convert_chitchat(const filesystem::path& root, const filesystem::path& out) {
  const filesystem::path path = root / "chitchat_dataset/dataset.json";
  const base::Json all = base::read_json(path);
  base::AtomicFile lines(out / "chitchat.jsonl");
  if (!all.is_object()) throw base::Error("{}: an object of conversations was expected", path.string());
  for (const auto& [id, conversation] : all.items()) {
    base::OrderedJson messages = base::OrderedJson::array();
    std::string last_sender;
    for (const base::Json& turn : base::json_require<base::Json>(conversation, "messages", path.string())) {
      for (const base::Json& part : turn) {
        const auto text = base::json_require<std::string>(part, "text", path.string());
        const auto sender = base::json_require<std::string>(part, "sender", path.string());
        if (text.find_first_not_of(" \t\r\n") == std::string::npos) continue;
        if (!messages.empty() && sender == last_sender) {
          std::string& content = messages.back()["content"].get_ref<std::string&>();
          content += "\n" + text;
          continue;
        }
        messages.push_back({{"role", messages.size() % 2 == 0 ? "user" : "assistant"}, {"content", text}});
        last_sender = sender;
      }
    }
    if (messages.size() >= 2) lines.write(json_line({{"id", id}, {"messages", messages}}));
  }
  lines.commit();
}

std::vector<std::string_view> dictionary_entries(std::string_view text) {
  std::vector<std::string_view> entries;
  size_t entry_begin = std::string_view::npos;
  bool is_behind_empty_line = true;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    const bool is_headword = !line.empty() &&
                             std::string_view(" \t[=\\").find(line.front()) == std::string_view::npos &&
                             line.find('\\') != std::string_view::npos;
    if (is_headword && is_behind_empty_line) {
      if (entry_begin != std::string_view::npos) entries.push_back(text.substr(entry_begin, begin - entry_begin));
      entry_begin = begin;
    }
    is_behind_empty_line = line.find_first_not_of(" \t\r") == std::string_view::npos;
    begin = end + 1;
  }
  if (entry_begin != std::string_view::npos) entries.push_back(text.substr(entry_begin));
  return entries;
}

void convert_gcide(const filesystem::path& root, const filesystem::path& out) {
  const filesystem::path path = root / "usr/share/dictd/gcide.dict.dz";
  const std::string text =
      repair_utf8(inflate_bytes(base::MappedFile(path).text(), -1, kMaximumDictionary, path.string()));
  base::AtomicFile plain(out / "gcide.txt"), lines(out / "gcide.jsonl");
  plain.write(text);
  for (const std::string_view entry : dictionary_entries(text))
    lines.write(json_line({{"text", std::string(without_empty_lines_at_end(entry)) + "\n"}}));
  plain.commit();
  lines.commit();
}

}  // namespace fledge::train
