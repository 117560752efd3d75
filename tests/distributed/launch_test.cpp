#include "distributed/launch.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temporary_folder.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

/// Launches shell scripts that leave files in a folder of their own.
class LaunchTest : public testing::Test {
 protected:
  LaunchOptions options_of(const std::string& script, unsigned processes) const {
    LaunchOptions options;
    options.program = "sh";
    options.arguments = {"sh", "-c", "cd '" + folder_.path().string() + "' && " + script};
    options.processes = processes;
    options.grace_seconds = 0.2;
    return options;
  }

  std::string read(const std::string& name) const {
    std::ifstream file(folder_.path() / name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  bool wait_for(const std::string& name) const {
    for (int i = 0; i < 1500 && !fs::exists(folder_.path() / name); ++i) {
      std::this_thread::sleep_for(10ms);
    }
    return fs::exists(folder_.path() / name);
  }

  /// Launches in a process of its own, whose exit code is launch's, standard error in "err".
  pid_t start(const LaunchOptions& options) const {
    const pid_t process = ::fork();
    if (process == 0) {
      for (const int number : {SIGHUP, SIGINT, SIGTERM}) ::signal(number, SIG_DFL);
      if (std::freopen((folder_ / "err").c_str(), "w", stderr) == nullptr) ::_exit(99);
      const LaunchEnd end = launch(options);
      std::ofstream(folder_ / "sentence") << end.sentence;
      ::_exit(end.exit_code);
    }
    return process;
  }

  static int status_of(pid_t process) {
    int status = 0;
    ::waitpid(process, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  /// Whether a process of this id ends within some seconds. It is not our child: nobody may take
  /// note of its end.
  static bool ends(pid_t process) {
    for (int i = 0; i < 1500; ++i) {
      std::ifstream file("/proc/" + std::to_string(process) + "/stat");
      std::string number, name, state;
      if (!(file >> number >> name >> state) || state == "Z") return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }

  test::TemporaryFolder folder_;
};

TEST_F(LaunchTest, SetsTorchrunsVariables) {
  LaunchOptions options = options_of(
      "echo $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR $MASTER_PORT >r$RANK", 3);
  options.master_port = 2345;
  const LaunchEnd end = launch(options);
  EXPECT_EQ(end.exit_code, 0);
  EXPECT_EQ(end.sentence, "");
  EXPECT_EQ(read("r0"), "0 0 3 3 127.0.0.1 2345\n");
  EXPECT_EQ(read("r1"), "1 1 3 3 127.0.0.1 2345\n");
  EXPECT_EQ(read("r2"), "2 2 3 3 127.0.0.1 2345\n");
}

TEST_F(LaunchTest, NumbersTheProcessesOfSeveralMachines) {
  LaunchOptions options =
      options_of("echo $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR >r$RANK", 2);
  options.machines = 3;
  options.machine = 1;
  EXPECT_THROW(launch(options), Error);
  options.master_address = "first";
  EXPECT_THROW(launch(options), Error) << "a free port here is none elsewhere";
  options.master_port = 2345;
  options.master_address.clear();
  EXPECT_THROW(launch(options), Error) << "this machine's address is none elsewhere";
  options.master_address = "first";
  EXPECT_EQ(launch(options).exit_code, 0);
  EXPECT_EQ(read("r2"), "2 0 6 2 first\n");
  EXPECT_EQ(read("r3"), "3 1 6 2 first\n");
  options.machine = 3;
  EXPECT_THROW(launch(options), Error);
}

TEST_F(LaunchTest, FindsAPortThatIsTheSameForAll) {
  EXPECT_EQ(launch(options_of("echo $MASTER_PORT >r$RANK", 2)).exit_code, 0);
  EXPECT_EQ(read("r0"), read("r1"));
  EXPECT_GT(std::stoi(read("r0")), 1023);
}

/// Rank 0 says what another found wrong, which may have ended by then.
TEST_F(LaunchTest, RankZeroMaySayWhatWasWrong) {
  const LaunchEnd end =
      launch(options_of("test $RANK = 1 && exit 2; sleep 0.3; echo said >r0; exit 4", 2));
  EXPECT_EQ(end.exit_code, 2);
  EXPECT_EQ(read("r0"), "said\n");
}

TEST_F(LaunchTest, OneThatFailsEndsTheOthers) {
  const LaunchEnd end = launch(options_of(
      "trap 'echo told >t$RANK; exit 0' TERM; touch up$RANK; "
      "if [ $RANK = 1 ]; then while [ ! -e up0 ] || [ ! -e up2 ]; do :; done; exit 3; fi; "
      "while :; do sleep 0.01; done",
      3));
  EXPECT_EQ(end.exit_code, 3);
  EXPECT_EQ(end.sentence, "Rank 1 failed with exit code 3. The others are ended, too.");
  EXPECT_EQ(read("t0"), "told\n");
  EXPECT_EQ(read("t2"), "told\n");
}

/// Exit code 4 says: another was the cause.
TEST_F(LaunchTest, TheCauseIsNamedAndNotOneThatMissedTheOthers) {
  LaunchOptions options = options_of(
      "if [ $RANK = 1 ]; then while [ ! -e ready ]; do :; done; touch up; exit 4; fi; "
      "if [ $RANK = 0 ]; then trap '' TERM; touch ready; while [ ! -e up ]; do :; done; "
      "sleep 0.3; exit 3; fi; exec sleep 100",
      3);
  options.grace_seconds = 60;
  const LaunchEnd end = launch(options);
  EXPECT_EQ(end.exit_code, 3);
  EXPECT_THAT(end.sentence, HasSubstr("Rank 0 failed with exit code 3."));
  const LaunchEnd lost = launch(options_of("[ $RANK = 1 ] && exit 4; exec sleep 100", 2));
  EXPECT_EQ(lost.exit_code, 4) << "nobody else failed";
  EXPECT_THAT(lost.sentence, HasSubstr("Rank 1 failed with exit code 4."));
}

TEST_F(LaunchTest, TheJoinTimeoutIsPassedOn) {
  LaunchOptions options = options_of("echo \"$BERTRAND_JOIN_TIMEOUT\" >r$RANK", 1);
  options.join_timeout = 25;
  EXPECT_EQ(launch(options).exit_code, 0);
  EXPECT_EQ(read("r0"), "25\n");
}

TEST_F(LaunchTest, OneThatDoesNotListenIsKilled) {
  const LaunchEnd end = launch(options_of(
      "trap '' TERM; touch up$RANK; "
      "if [ $RANK = 0 ]; then while [ ! -e up1 ]; do :; done; kill -9 $$; fi; exec sleep 100",
      2));
  EXPECT_EQ(end.exit_code, 128 + SIGKILL);
  EXPECT_THAT(end.sentence, AllOf(HasSubstr("Rank 0 was ended by signal 9"), HasSubstr("others")));
}

TEST_F(LaunchTest, AProgramThatIsNotThereIsSaid) {
  LaunchOptions options = options_of("", 2);
  options.program = (folder_ / "nothing").string();
  const pid_t process = start(options);
  EXPECT_EQ(status_of(process), 127);
  EXPECT_THAT(read("err"), HasSubstr("nothing cannot be run (No such file or directory)"));
}

TEST_F(LaunchTest, StandardInputIsEmpty) {
  EXPECT_EQ(launch(options_of("cat >r$RANK", 2)).exit_code, 0);
  EXPECT_EQ(read("r0"), "");
}

TEST_F(LaunchTest, LinesAreTaggedWhenAsked) {
  LaunchOptions options = options_of("printf 'one\\ntwo\\r\\nthree' >&2", 2);
  EXPECT_EQ(status_of(start(options)), 0);
  EXPECT_THAT(read("err"), HasSubstr("one\ntwo"));
  options.tag = true;
  EXPECT_EQ(status_of(start(options)), 0);
  for (const char* line :
       {"[0] one\n", "[1] one\n", "[0] two\n", "[1] two\n", "[0] three\n", "[1] three\n"}) {
    EXPECT_THAT(read("err"), HasSubstr(line));
  }
}

TEST_F(LaunchTest, SignalsArePassedOnAndWaitedFor) {
  for (const auto& [number, name] :
       {std::pair(SIGINT, "INT"), std::pair(SIGTERM, "TERM"), std::pair(SIGHUP, "HUP")}) {
    const std::string code = std::to_string(128 + number);
    const pid_t process =
        start(options_of(std::string("trap 'sleep 0.3; echo done >d$RANK; exit ") + code + "' " +
                             name + "; touch up$RANK; while :; do sleep 0.01; done",
                         2));
    ASSERT_TRUE(wait_for("up0") && wait_for("up1"));
    ::kill(process, number);
    EXPECT_EQ(status_of(process), 128 + number);
    EXPECT_EQ(read("d0") + read("d1"), "done\ndone\n") << name;
    EXPECT_EQ(read("sentence"), "");
    for (const char* file : {"up0", "up1", "d0", "d1"}) fs::remove(folder_.path() / file);
  }
}

/// One that was told by somebody else: the others have agreed with it and take their time.
TEST_F(LaunchTest, OneThatStopsAsAskedLetsTheOthersFinish) {
  const LaunchEnd end = launch(
      options_of("trap : TERM; touch up$RANK; if [ $RANK = 1 ]; then while [ ! -e up0 ]; do :; "
                 "done; exit 143; fi; sleep 1; echo done >d; exit 0",
                 2));
  EXPECT_EQ(end.exit_code, 143);
  EXPECT_EQ(end.sentence, "");
  EXPECT_EQ(read("d"), "done\n");
}

TEST_F(LaunchTest, NobodyIsLeftWhereItIsKilled) {
  const pid_t process = start(
      options_of("trap '' TERM HUP INT; echo $$ >p$RANK; mv p$RANK up$RANK; exec sleep 100", 2));
  ASSERT_TRUE(wait_for("up0") && wait_for("up1"));
  const pid_t first = std::stoi(read("up0")), second = std::stoi(read("up1"));
  ::kill(process, SIGKILL);
  EXPECT_EQ(status_of(process), -SIGKILL);
  EXPECT_TRUE(ends(first));
  EXPECT_TRUE(ends(second));
}

}  // namespace
}  // namespace bertrand
