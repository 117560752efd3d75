// models/data/squad/squad_download.sh against a server on the loopback.
#include <filesystem>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scripts/file_server.h"
#include "scripts/script.h"

namespace bertrand::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

const std::string train_text(100'000, 't');
constexpr const char* kDevText = "the development set\n";

class Download : public testing::Test {
 protected:
  Download() {
    if (std::system("command -v curl wget >/dev/null") != 0) {
      reason_ = "neither curl nor wget is installed";
    }
    script_.write("t", train_text);
    script_.write("d", kDevText);
    const Outcome sums = script_.sh(
        "md5sum t d | sed 's# t$# v1.1/train-v1.1.json#; s# d$# "
        "v1.1/dev-v1.1.json#' >sums.md5");
    EXPECT_EQ(sums.status, 0) << sums.err;
  }

  void SetUp() override {
    if (!reason_.empty()) GTEST_SKIP() << reason_;
  }

  Outcome download(const FileServer& server, const std::string& arguments = "",
                   const std::string& list = "sums.md5") const {
    return script_.sh("SQUAD_CHECKSUMS=" + list + " SQUAD_MIRROR=" + server.address() + " '" +
                      (source_folder() / "models/data/squad/squad_download.sh").string() + "' " +
                      arguments);
  }

  Script script_;
  std::string reason_;
};

TEST_F(Download, BringsGoodFilesOnce) {
  const FileServer server({{"train-v1.1.json", train_text}, {"dev-v1.1.json", kDevText}});
  const Outcome outcome = download(server);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(script_.read("v1.1/train-v1.1.json") == train_text);
  EXPECT_EQ(script_.read("v1.1/dev-v1.1.json"), kDevText);
  EXPECT_THAT(outcome.out, HasSubstr("Complete!"));
  const Outcome again = download(server, "v1.1");
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("v1.1/dev-v1.1.json is there."));
  EXPECT_THAT(server.begins(), SizeIs(2));
}

TEST_F(Download, BringsTheEvaluationScriptsWhereTheyCanBeHad) {
  script_.write("d", "print(1)\n");
  ASSERT_EQ(script_.sh("md5sum d | sed 's# d$# v1.1/evaluate-v1.1.py#' >>sums.md5").status, 0);
  FileServer without({{"train-v1.1.json", train_text}, {"dev-v1.1.json", kDevText}});
  const Outcome lacking = download(without);
  EXPECT_EQ(lacking.status, 0) << lacking.err;
  EXPECT_THAT(lacking.err, HasSubstr("v1.1/evaluate-v1.1.py is not needed: bertrand evaluate"));
  EXPECT_FALSE(script_.exists("v1.1/evaluate-v1.1.py"));
  const std::map<std::string, std::string> script = {{"evaluate-v1.1.py", "print(1)\n"}};
  const FileServer with(script);
  EXPECT_EQ(download(with).status, 0);
  EXPECT_EQ(script_.read("v1.1/evaluate-v1.1.py"), "print(1)\n");
}

/// As other programs and systems write lists.
TEST_F(Download, TakesEveryFormOfAList) {
  const FileServer server({{"train-v1.1.json", train_text}, {"dev-v1.1.json", kDevText}});
  for (const char* change : {"sed -i 's#  v# *v#'", "sed -i 's#  v#  ./v#'",
                             "sed -i 's#  v# *./v#'", "sed -i 's#$#\\r#'", "truncate -s -1"}) {
    const std::string line = "rm -rf v1.1; cp sums.md5 form.md5; ";
    ASSERT_EQ(script_.sh(line + change + " form.md5").status, 0);
    const Outcome outcome = download(server, "v1.1", "form.md5");
    EXPECT_EQ(outcome.status, 0) << change << outcome.err;
    EXPECT_TRUE(script_.read("v1.1/train-v1.1.json") == train_text) << change;
    EXPECT_EQ(script_.read("v1.1/dev-v1.1.json"), kDevText) << change;
  }
}

TEST_F(Download, AVersionThatIsNotListedIsNotComplete) {
  const FileServer server({{"train-v1.1.json", train_text}, {"dev-v1.1.json", kDevText}});
  script_.write("none.md5", "MD5 (v1.1/dev-v1.1.json) = 0\n");
  const auto lacking = HasSubstr("sums.md5 lists no file of v2.0");
  for (const char* versions : {"v2.0", "v1.1 v2.0"}) {
    const Outcome outcome = download(server, versions);
    EXPECT_EQ(outcome.status, 1) << versions;
    EXPECT_THAT(outcome.err, lacking);
    EXPECT_THAT(outcome.out, Not(HasSubstr("Complete!")));
  }
  const Outcome all = download(server);
  EXPECT_EQ(all.status, 0) << "all that are listed were asked for";
  EXPECT_THAT(all.err, lacking);
  EXPECT_EQ(download(server, "", "none.md5").status, 1);
}

TEST_F(Download, RemovesWhatIsCorrupted) {
  const FileServer server({{"train-v1.1.json", train_text}, {"dev-v1.1.json", "changed"}});
  const Outcome outcome = download(server);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("v1.1/dev-v1.1.json is corrupted: its md5 is "));
  EXPECT_FALSE(script_.exists("v1.1/dev-v1.1.json"));
  EXPECT_FALSE(script_.exists("v1.1/dev-v1.1.json.part"));
  EXPECT_TRUE(script_.exists("v1.1/train-v1.1.json"));
}

/// Also where no better one can be had: a training run would take it.
TEST_F(Download, RemovesACorruptedFileThatWasThere) {
  const FileServer server({{"train-v1.1.json", train_text}});
  std::filesystem::create_directory(script_.path("v1.1"));
  script_.write("v1.1/dev-v1.1.json", "changed");
  const Outcome outcome = download(server);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("v1.1/dev-v1.1.json was corrupted and is removed: its md5"));
  EXPECT_FALSE(script_.exists("v1.1/dev-v1.1.json"));
}

TEST_F(Download, GoesOnAfterABrokenConnection) {
  FileServer server({{"train-v1.1.json", train_text}, {"dev-v1.1.json", kDevText}});
  server.break_after(40'000);
  const Outcome outcome = download(server);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(server.begins(), ElementsAre(0, 40'000, 80'000, 0));
  EXPECT_TRUE(script_.read("v1.1/train-v1.1.json") == train_text);
}

TEST_F(Download, GoesOnWithWhatAnEarlierCallLeft) {
  const FileServer server({{"train-v1.1.json", train_text}, {"dev-v1.1.json", kDevText}});
  std::filesystem::create_directory(script_.path("v1.1"));
  script_.write("v1.1/train-v1.1.json.part", train_text.substr(0, 70'000));
  EXPECT_EQ(download(server).status, 0);
  EXPECT_THAT(server.begins(), Contains(70'000));
  EXPECT_TRUE(script_.read("v1.1/train-v1.1.json") == train_text);
}

TEST_F(Download, BeginsAnewWhereThePartIsOfAnotherFile) {
  const FileServer server({{"train-v1.1.json", train_text}, {"dev-v1.1.json", kDevText}});
  std::filesystem::create_directory(script_.path("v1.1"));
  script_.write("v1.1/dev-v1.1.json.part", "something longer than the file, and not it");
  script_.write("v1.1/train-v1.1.json", "old");
  Outcome outcome = download(server);
  if (outcome.status != 0) outcome = download(server);  // wget leaves it; then it is removed
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(script_.read("v1.1/dev-v1.1.json"), kDevText);
  EXPECT_TRUE(script_.read("v1.1/train-v1.1.json") == train_text);
}

TEST_F(Download, TakesWholeFilesWhereTheServerSendsNoParts) {
  FileServer server({{"train-v1.1.json", train_text}, {"dev-v1.1.json", kDevText}});
  server.send_whole_files_only();
  std::filesystem::create_directory(script_.path("v1.1"));
  script_.write("v1.1/train-v1.1.json.part", "tttt");
  const Outcome outcome = download(server);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(script_.read("v1.1/train-v1.1.json") == train_text);
}

TEST_F(Download, SaysWhatFailed) {
  const FileServer server({{"train-v1.1.json", train_text}});
  const Outcome outcome = download(server);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("v1.1/dev-v1.1.json: the download from http://127"),
                                 HasSubstr("404")));
  EXPECT_EQ(download(server, "--no-such-flag").status, 2);
}

}  // namespace
}  // namespace bertrand::test
