#include "train/data/http_fetch.h"

#include <gmock/gmock.h>

#include <atomic>

#include "train/data/sha256.h"
#include "train/data/test_server.h"
#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string sample_text() {
  std::string text;
  for (int line = 0; line < 40000; ++line) text += std::to_string(line * 7919) + "\n";
  return text;
}

/// What a server that knows ranges answers.
Answer serve_range(const std::string& text, int64_t range) {
  if (range < 0) return {200, "", text};
  const auto size = static_cast<int64_t>(text.size());
  if (range >= size) return {416, fmt::format("Content-Range: bytes */{}\r\n", size), "out of range"};
  return {206, fmt::format("Content-Range: bytes {}-{}/{}\r\n", range, size - 1, size),
          text.substr(static_cast<size_t>(range))};
}

FetchOptions quick() {
  FetchOptions options;
  options.retry_seconds = 0.01;
  return options;
}

TEST(HttpFetch, DownloadsAndThenLeavesTheFileAlone) {
  const TemporaryFolder folder;
  const std::string text = sample_text();
  LocalServer server([&](int, int64_t range) { return serve_range(text, range); });
  FetchOptions options = quick();
  int64_t last_done = 0, last_total = 0;
  options.progress = [&](int64_t done, int64_t total) {
    EXPECT_GE(done, last_done);
    last_done = done;
    last_total = total;
  };
  for (int again = 0; again < 2; ++again) {
    fetch_url(server.url(), folder / "a.txt", sha256(text), options);
    EXPECT_EQ(base::read_file(folder / "a.txt"), text);
  }
  EXPECT_THAT(server.ranges(), ElementsAre(-1));
  EXPECT_EQ(last_done, static_cast<int64_t>(text.size()));
  EXPECT_EQ(last_total, static_cast<int64_t>(text.size()));
  EXPECT_FALSE(std::filesystem::exists(folder / "a.txt.part"));
}

TEST(HttpFetch, GoesOnWhereAConnectionWasCut) {
  const TemporaryFolder folder;
  const std::string text = sample_text();
  LocalServer server([&](int request, int64_t range) {
    Answer answer = serve_range(text, range);
    if (request < 7) answer.cut_at = 1000;  // more cuts than attempts in a row are allowed, but each one makes progress
    return answer;
  });
  fetch_url(server.url(), folder / "a.txt", sha256(text), quick());
  EXPECT_EQ(base::read_file(folder / "a.txt"), text);
  EXPECT_THAT(server.ranges(), ElementsAre(-1, 1000, 2000, 3000, 4000, 5000, 6000, 7000));
}

TEST(HttpFetch, GoesOnAfterAProgramThatWasKilled) {
  const TemporaryFolder folder;
  const std::string text = sample_text();
  LocalServer server([&](int, int64_t range) { return serve_range(text, range); });
  base::write_file(folder / "a.txt.part", text.substr(0, 12345));
  fetch_url(server.url(), folder / "a.txt", sha256(text), quick());
  EXPECT_EQ(base::read_file(folder / "a.txt"), text);
  EXPECT_THAT(server.ranges(), ElementsAre(12345));
}

TEST(HttpFetch, AWholePartIsTaken) {
  const TemporaryFolder folder;
  const std::string text = sample_text();
  LocalServer server([&](int, int64_t range) { return serve_range(text, range); });
  base::write_file(folder / "a.txt.part", text);
  fetch_url(server.url(), folder / "a.txt", sha256(text), quick());  // 416: nothing is left to send
  EXPECT_EQ(base::read_file(folder / "a.txt"), text);
  EXPECT_THAT(server.ranges(), ElementsAre(static_cast<int64_t>(text.size())));
}

TEST(HttpFetch, APartOfAnotherFileIsThrownAway) {
  const TemporaryFolder folder;
  const std::string text = sample_text();
  LocalServer server([&](int, int64_t range) { return serve_range(text, range); });
  base::write_file(folder / "a.txt.part", "other content");
  fetch_url(server.url(), folder / "a.txt", sha256(text), quick());
  EXPECT_EQ(base::read_file(folder / "a.txt"), text);
  base::write_file(folder / "b.txt.part", text + text);  // longer than the file
  fetch_url(server.url(), folder / "b.txt", sha256(text), quick());
  EXPECT_EQ(base::read_file(folder / "b.txt"), text);
  EXPECT_THAT(server.ranges(), ElementsAre(13, -1, 2 * static_cast<int64_t>(text.size()), -1));
}

TEST(HttpFetch, ServersWithoutRangesOrWithWrongOnesAreUnderstood) {
  const TemporaryFolder folder;
  const std::string text = sample_text();
  LocalServer whole([&](int, int64_t) { return Answer{200, "", text}; });
  base::write_file(folder / "a.txt.part", text.substr(0, 500));
  fetch_url(whole.url(), folder / "a.txt", sha256(text), quick());
  EXPECT_EQ(base::read_file(folder / "a.txt"), text);
  LocalServer wrong([&](int request, int64_t) { return serve_range(text, request == 0 ? 400 : -1); });
  base::write_file(folder / "b.txt.part", text.substr(0, 500));
  fetch_url(wrong.url(), folder / "b.txt", sha256(text), quick());
  EXPECT_EQ(base::read_file(folder / "b.txt"), text);
}

TEST(HttpFetch, TriesAgainAfterAServersFault) {
  const TemporaryFolder folder;
  LocalServer server([&](int request, int64_t) {
    return request < 2 ? Answer{503, "", "busy"} : Answer{200, "", "ok"};
  });
  fetch_url(server.url(), folder / "a.txt", sha256("ok"), quick());
  EXPECT_EQ(base::read_file(folder / "a.txt"), "ok");
  EXPECT_EQ(server.ranges().size(), 3u);
}

TEST(HttpFetch, SaysWhyItGaveUp) {
  const TemporaryFolder folder;
  LocalServer missing([](int, int64_t) { return Answer{404, "", "no"}; });
  EXPECT_THAT(error_of([&] { fetch_url(missing.url(), folder / "a.txt", "", quick()); }),
              HasSubstr("the server answers 404"));
  EXPECT_EQ(missing.ranges().size(), 1u);

  LocalServer busy([](int, int64_t) { return Answer{500, "", "no"}; });
  EXPECT_THAT(error_of([&] { fetch_url(busy.url(), folder / "a.txt", "", quick()); }),
              HasSubstr("failed 5 times (the server answers 500)"));
  EXPECT_EQ(busy.ranges().size(), 5u);

  std::string gone;
  {
    LocalServer server([](int, int64_t) { return Answer{}; });
    gone = server.url();
  }
  EXPECT_THAT(error_of([&] { fetch_url(gone, folder / "a.txt", "", quick()); }), HasSubstr("Failed to connect"));
  EXPECT_THAT(error_of([&] { fetch_url("file:///etc/passwd", folder / "a.txt", "", quick()); }),
              HasSubstr("http:// or https://"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a.txt"));
}

TEST(HttpFetch, KeepsNothingThatIsNotExpected) {
  const TemporaryFolder folder;
  LocalServer server([](int, int64_t range) { return serve_range("forged", range); });
  base::write_file(folder / "a.txt.part", "for");
  EXPECT_THAT(error_of([&] { fetch_url(server.url(), folder / "a.txt", sha256("true"), quick()); }),
              HasSubstr("it was changed at its source"));
  EXPECT_THAT(server.ranges(), ElementsAre(3, -1));  // once more from its beginning, and no oftener
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(HttpFetch, NamesAFolderThatCannotBeWritten) {
  LocalServer server([](int, int64_t) { return Answer{200, "", "ok"}; });
  EXPECT_THAT(error_of([&] { fetch_url(server.url(), "/proc/none/a.txt", "", quick()); }),
              HasSubstr("/proc/none/a.txt.part: cannot be created"));
}

}  // namespace
}  // namespace fledge::train
