#include "train/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temporary_folder.h"

namespace bertrand {
namespace {

TEST(RunFolder, ADiskThatIsTooSmallIsSaidAtTheBegin) {
  const test::TemporaryFolder folder;
  ModelFolderContents model;
  model.parameters = {{"small", {10, 10}}};
  EXPECT_NO_THROW(check_run_space(folder.path(), model, /*snapshot=*/true));
  model.parameters.push_back({"large", {int64_t{1} << 40, 1000}});
  for (const bool snapshot : {false, true}) {
    try {
      check_run_space(folder.path(), model, snapshot);
      FAIL() << "there is no such disk";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
      EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr(folder.path().string()),
                                               testing::HasSubstr(" MB free")));
    }
  }
}

TEST(RunFolder, TwoRunsDoNotWriteToOne) {
  const test::TemporaryFolder folder;
  const std::filesystem::path out = folder.path() / "run";
  const RunFolderUse use = {.out = out, .model = folder.path() / "model", .overwrite = true};
  const auto expect_refusal = [](const auto& begin) {
    try {
      begin();
      ADD_FAILURE() << "another run is there";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_THAT(error.what(), testing::HasSubstr("run: another run writes to it now."));
    }
  };
  {
    RunFolder first(out);
    expect_refusal([&] { check_run_folder(use); });
    expect_refusal([&] { const RunFolder second(out); });
    first.keep();
  }
  EXPECT_NO_THROW(check_run_folder(use));
}

}  // namespace
}  // namespace bertrand
