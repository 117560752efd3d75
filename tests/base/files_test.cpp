#include "base/files.h"

#include <array>
#include <fstream>
#include <functional>
#include <signal.h>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temporary_folder.h"

namespace bertrand {
namespace {

using std::filesystem::path;
using test::TemporaryFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

void put(const path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

/// The error that `act` throws; fails where there is none.
Error error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::runtime, ""};
}

/// Files of this process may not grow beyond `bytes` while it lives: a full disk for one test.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    signal_before_ = ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, signal_before_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
  void (*signal_before_)(int) = nullptr;
};

TEST(MappedFile, ShowsTheBytes) {
  const TemporaryFolder folder;
  const std::string text("one\0two\n", 8);
  put(folder / "file", text);
  const MappedFile file(folder / "file");
  EXPECT_EQ(file.text(), text);
  EXPECT_EQ(file.bytes().size(), 8U);
}

TEST(MappedFile, AnEmptyFileHasNoBytes) {
  const TemporaryFolder folder;
  put(folder / "file", "");
  EXPECT_TRUE(MappedFile(folder / "file").bytes().empty());
}

TEST(MappedFile, MovesWithoutMovingTheBytes) {
  const TemporaryFolder folder;
  put(folder / "a", "aaa");
  put(folder / "b", "bbb");
  MappedFile a(folder / "a");
  const auto* bytes = a.bytes().data();
  MappedFile moved(std::move(a));
  EXPECT_EQ(moved.bytes().data(), bytes);
  MappedFile b(folder / "b");
  b = std::move(moved);
  EXPECT_EQ(b.text(), "aaa");
  EXPECT_EQ(b.bytes().data(), bytes);
}

TEST(MappedFile, StaysWhenTheFileIsReplaced) {
  const TemporaryFolder folder;
  put(folder / "file", "old");
  const MappedFile file(folder / "file");
  write_file(folder / "file", "new");
  EXPECT_EQ(file.text(), "old");
  EXPECT_EQ(MappedFile(folder / "file").text(), "new");
}

TEST(MappedFile, NamesAFileThatIsNotThere) {
  const TemporaryFolder folder;
  const Error error = error_of([&] { MappedFile(folder / "missing"); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_THAT(error.what(), HasSubstr((folder / "missing").string()));
  EXPECT_THAT(error.what(), HasSubstr("No such file"));
}

TEST(MappedFile, RefusesAFolderAndAPipe) {
  const TemporaryFolder folder;
  const Error error = error_of([&] { MappedFile(folder.path()); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(error_of([&] { MappedFile(folder / "pipe"); }).code(), ErrorCode::bad_input);
}

TEST(ReadFile, GivesAllBytes) {
  const TemporaryFolder folder;
  std::string text(200'000, 'x');
  text[70'000] = '\0';
  put(folder / "file", text);
  EXPECT_EQ(read_file(folder / "file"), text);
  put(folder / "empty", "");
  EXPECT_EQ(read_file(folder / "empty"), "");
}

TEST(ReadFile, ReadsNoMoreThanItsLimit) {
  const TemporaryFolder folder;
  put(folder / "file", std::string(200'000, 'x'));
  EXPECT_EQ(read_file(folder / "file", 200'000).size(), 200'000U);
  const Error larger = error_of([&] { read_file(folder / "file", 199'999); });
  EXPECT_EQ(larger.code(), ErrorCode::bad_input);
  EXPECT_THAT(larger.what(), HasSubstr("more than 199999 bytes"));
}

TEST(ReadFile, NamesWhatCannotBeRead) {
  const TemporaryFolder folder;
  const Error missing = error_of([&] { read_file(folder / "missing"); });
  EXPECT_EQ(missing.code(), ErrorCode::io);
  EXPECT_THAT(missing.what(), HasSubstr((folder / "missing").string()));
}

TEST(ReadFile, RefusesAPipeWithoutWaitingForIt) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink("pipe", folder / "link");
  std::filesystem::create_symlink("/dev/zero", folder / "device");
  for (const path& other : {folder / "pipe", folder / "link", folder / "device", folder.path()}) {
    const Error error = error_of([&] { read_file(other); });
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr(other.string() + ": is not a regular file; give one"));
  }
}

TEST(ReadFile, TakesThePipeThatAShellNames) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], "text", 4), 4);
  ::close(ends[1]);
  EXPECT_EQ(read_file("/dev/fd/" + std::to_string(ends[0])), "text");
  ::close(ends[0]);
}

TEST(ReadInput, WaitsForAPipe) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { put(folder / "pipe", "text"); });
  EXPECT_EQ(read_input(folder / "pipe"), "text");
  writer.join();
  EXPECT_EQ(error_of([&] { read_input(folder / "missing"); }).code(), ErrorCode::io);
}

TEST(AtomicFile, AppearsWholeOnCommit) {
  const TemporaryFolder folder;
  AtomicFile file(folder / "out");
  file.write("one ");
  file.write(std::as_bytes(std::span("two", 3)));
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  file.commit();
  EXPECT_EQ(read_file(folder / "out"), "one two");
  EXPECT_THAT(folder.names(), ElementsAre("out"));
}

TEST(AtomicFile, FlushedItIsNotThereYet) {
  const TemporaryFolder folder;
  AtomicFile file(folder / "out");
  file.write("text");
  file.flush();
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  file.commit();
  EXPECT_EQ(read_file(folder / "out"), "text");
}

TEST(NewFolder, GoesUnlessItIsKeptOrHoldsSomething) {
  const TemporaryFolder folder;
  { const NewFolder gone(folder / "a/b"); }
  EXPECT_THAT(folder.names(), IsEmpty());
  NewFolder(folder / "a/b/").keep();
  { const NewFolder there_before(folder / "a/b"); }
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b"));
  {
    const NewFolder holds(folder / "a/b/c/d");
    put(folder / "a/b/c/file", "");
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "a/b/c/d"));
  EXPECT_TRUE(std::filesystem::exists(folder / "a/b/c/file"));
  EXPECT_EQ(error_of([&] { NewFolder(folder / "a/b/c/file/d"); }).code(), ErrorCode::io);
}

TEST(AtomicFile, LeavesTheOldFileWithoutCommit) {
  const TemporaryFolder folder;
  put(folder / "out", "old");
  { AtomicFile(folder / "out").write("new"); }
  EXPECT_EQ(read_file(folder / "out"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("out"));
}

TEST(AtomicFile, LeavesNothingWhenTheDiskIsFull) {
  const TemporaryFolder folder;
  put(folder / "out", "old");
  const std::string text(100'000, 'x');
  const Error error = [&] {
    const FullDisk full(/*bytes=*/65'536);
    return error_of([&] { write_file(folder / "out", text); });
  }();
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_THAT(error.what(), HasSubstr((folder / "out").string() + ": cannot be written"));
  EXPECT_EQ(read_file(folder / "out"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("out"));
}

TEST(AtomicFile, TellsWhenTheLastBytesDoNotFit) {
  // Few enough bytes to stay in the buffer until commit().
  const TemporaryFolder folder;
  const Error error = [&] {
    const FullDisk full(/*bytes=*/10);
    return error_of([&] { write_file(folder / "out", "more than ten bytes"); });
  }();
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_THAT(folder.names(), IsEmpty());
}

TEST(AtomicFile, SaysThatADeviceIsFullAndLeavesItThere) {
  const Error error = error_of([] { write_file("/dev/full", "text"); });
  EXPECT_THAT(error.what(), HasSubstr("/dev/full: cannot be written (No space left on device)"));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
  write_file("/dev/null", "text");
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST(AtomicFile, NamesAPlaceThatCannotBeWritten) {
  const TemporaryFolder folder;
  put(folder / "file", "");
  const Error inside_file = error_of([&] { AtomicFile(folder / "file" / "out"); });
  EXPECT_EQ(inside_file.code(), ErrorCode::io);
  EXPECT_THAT(inside_file.what(), HasSubstr((folder / "file" / "out").string()));
  EXPECT_THAT(error_of([&] { AtomicFile(folder / "no" / "out"); }).what(), HasSubstr("No such"));
  EXPECT_THAT(error_of([&] { AtomicFile{folder.path()}; }).what(), HasSubstr("is a folder"));
  EXPECT_EQ(error_of([] { AtomicFile{""}; }).code(), ErrorCode::io);
  EXPECT_THAT(folder.names(), ElementsAre("file"));
}

TEST(AtomicFile, FollowsALink) {
  const TemporaryFolder folder;
  put(folder / "real", "old");
  std::filesystem::create_symlink("real", folder / "link");
  write_file(folder / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "real"), "new");
}

TEST(AtomicFile, WritersOfOneNameDoNotMix) {
  const TemporaryFolder folder;
  std::vector<std::thread> writers;
  for (const char letter : {'a', 'b', 'c', 'd'}) {
    writers.emplace_back([&folder, letter] {
      for (int round = 0; round < 20; ++round) {
        write_file(folder / "out", std::string(10'000, letter));
      }
    });
  }
  for (std::thread& writer : writers) {
    writer.join();
  }
  const std::string text = read_file(folder / "out");
  EXPECT_EQ(text, std::string(10'000, text[0]));
  EXPECT_THAT(folder.names(), ElementsAre("out"));
}

/// The next names of partial files beside `file` that this process would take.
std::vector<path> next_partial_names(const TemporaryFolder& folder, const std::string& file) {
  const AtomicFile probe(folder / "probe");
  const std::string name = folder.names().at(0);
  const size_t number = name.rfind('-') + 1;
  std::vector<path> next;
  for (unsigned long i = 1; i <= 3; ++i) {
    next.push_back(folder / (file + name.substr(5, number - 5) +
                             std::to_string(std::stoul(name.substr(number)) + i)));
  }
  return next;
}

TEST(AtomicFile, DoesNotWriteToAPartialFileThatIsThere) {
  const TemporaryFolder folder;
  const auto taken = next_partial_names(folder, "out");
  put(folder / "victim", "old");
  put(taken[0], "left");
  std::filesystem::create_symlink("victim", taken[1]);
  std::filesystem::create_symlink("nowhere", taken[2]);
  write_file(folder / "out", "new");
  EXPECT_EQ(read_file(folder / "out"), "new");
  EXPECT_FALSE(std::filesystem::is_symlink(folder / "out"));
  EXPECT_EQ(read_file(folder / "victim"), "old");
  EXPECT_EQ(read_file(taken[0]), "left");
  EXPECT_EQ(folder.names().size(), 5U);
}

TEST(WriteFolder, TakesNothingFromAPartialFolderThatIsThere) {
  const TemporaryFolder folder;
  const auto taken = next_partial_names(folder, "model");
  std::filesystem::create_directory(taken[0]);
  put(taken[0] / "config.json", "left");
  std::filesystem::create_directory(folder / "elsewhere");
  std::filesystem::create_directory_symlink("elsewhere", taken[1]);
  write_folder(folder / "model", [](const path& partial) {
    EXPECT_TRUE(std::filesystem::is_empty(partial));
    put(partial / "weights", "");
  });
  EXPECT_FALSE(std::filesystem::is_symlink(folder / "model"));
  EXPECT_FALSE(std::filesystem::exists(folder / "model/config.json"));
  EXPECT_EQ(read_file(taken[0] / "config.json"), "left");
  EXPECT_TRUE(std::filesystem::is_empty(folder / "elsewhere"));
}

TEST(WriteFolder, ErrorsNameTheFolderThatWasAskedFor) {
  const TemporaryFolder folder;
  const std::string expected = (folder / "model/file").string() + ": cannot be written";
  for (const char* name : {"model", "model/"}) {
    const FullDisk full(/*bytes=*/10);
    const Error error = error_of([&] {
      write_folder(folder / name, [](const path& partial) {
        write_file(partial / "file", "more than ten bytes");
      });
    });
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.what(), testing::StartsWith(expected));
  }
  EXPECT_THAT(folder.names(), IsEmpty());
}

TEST(WriteFolder, AppearsWhole) {
  const TemporaryFolder folder;
  write_folder(folder / "model", [&](const path& partial) {
    write_file(partial / "config.json", "{}");
    EXPECT_FALSE(std::filesystem::exists(folder / "model"));
  });
  EXPECT_EQ(read_file(folder / "model" / "config.json"), "{}");
  EXPECT_THAT(folder.names(), ElementsAre("model"));
}

TEST(WriteFolder, MakesTheFoldersAboveAndTakesASlashAtTheEnd) {
  const TemporaryFolder folder;
  for (int round = 0; round < 2; ++round) {
    write_folder(folder / "runs/first/", [&](const path& partial) {
      write_file(partial / "round", std::to_string(round));
    });
    EXPECT_EQ(read_file(folder / "runs/first/round"), std::to_string(round));
  }
  EXPECT_THAT(folder.names(), ElementsAre("runs"));
}

TEST(WriteFolder, ReplacesTheWholeOldFolder) {
  const TemporaryFolder folder;
  write_folder(folder / "model", [](const path& partial) { put(partial / "old", ""); });
  write_folder(folder / "model", [&](const path& partial) {
    put(partial / "new", "");
    EXPECT_TRUE(std::filesystem::exists(folder / "model" / "old"));
  });
  EXPECT_TRUE(std::filesystem::exists(folder / "model" / "new"));
  EXPECT_FALSE(std::filesystem::exists(folder / "model" / "old"));
  EXPECT_THAT(folder.names(), ElementsAre("model"));
}

TEST(WriteFolder, LeavesNothingWhenFillingFails) {
  const TemporaryFolder folder;
  write_folder(folder / "model", [](const path& partial) { put(partial / "old", ""); });
  EXPECT_THROW(write_folder(folder / "model",
                            [](const path& partial) {
                              put(partial / "new", "");
                              throw std::out_of_range("half way");
                            }),
               std::out_of_range);
  EXPECT_TRUE(std::filesystem::exists(folder / "model" / "old"));
  EXPECT_THAT(folder.names(), ElementsAre("model"));
}

TEST(WriteFolder, FollowsALink) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "real");
  std::filesystem::create_directory_symlink("real", folder / "link");
  write_folder(folder / "link", [](const path& partial) { put(partial / "new", ""); });
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_TRUE(std::filesystem::exists(folder / "real" / "new"));
}

TEST(WriteFolder, RefusesToReplaceAFile) {
  const TemporaryFolder folder;
  put(folder / "file", "text");
  const Error error = error_of([&] { write_folder(folder / "file", [](const path&) {}); });
  EXPECT_THAT(error.what(), HasSubstr("is a file"));
  EXPECT_EQ(read_file(folder / "file"), "text");
  const Error inside = error_of([&] { write_folder(folder / "file/x", [](const path&) {}); });
  EXPECT_EQ(inside.code(), ErrorCode::io);
  EXPECT_THAT(folder.names(), ElementsAre("file"));
}

}  // namespace
}  // namespace bertrand
