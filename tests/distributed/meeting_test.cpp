#include "distributed/meeting.h"

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "distributed/launch.h"
#include "distributed/sockets.h"

namespace bertrand {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// What one process of a meeting came to.
struct Outcome {
  std::optional<ErrorCode> code;
  std::string sentence;
  std::vector<std::string> told;
};

class MeetingTest : public testing::Test {
 protected:
  using Change = std::function<void(MeetingOptions& options)>;
  using Work = std::function<void(Meeting& meeting)>;

  /// Those ranks meet, in threads.
  std::vector<Outcome> meet(
      const std::vector<unsigned>& ranks, const Change& change,
      const Work& work = [](Meeting&) {}) const {
    std::vector<Outcome> outcomes(ranks.size());
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < ranks.size(); ++i) {
      threads.emplace_back([&, i] {
        MeetingOptions options = options_;
        options.place.rank = ranks[i];
        options.tell = [&told = outcomes[i].told](const std::string& sentence) {
          told.push_back(sentence);
        };
        if (change) change(options);
        try {
          Meeting meeting(options);
          work(meeting);
        } catch (const Error& error) {
          outcomes[i].code = error.code();
          outcomes[i].sentence = error.what();
        }
      });
    }
    threads.clear();
    return outcomes;
  }

  static void expect_well(const std::vector<Outcome>& outcomes) {
    for (const Outcome& outcome : outcomes) EXPECT_FALSE(outcome.code) << outcome.sentence;
  }

  MeetingTest() {
    options_.place.count = 3;
    options_.address = "127.0.0.1";
    options_.port = free_port();
    options_.timeout_seconds = 60;
  }

  MeetingOptions options_;
};

TEST_F(MeetingTest, IsAGroup) {
  expect_well(meet({2, 0, 1}, {}, [](Meeting& meeting) {
    const unsigned rank = meeting.place().rank;
    std::vector<double> doubles = {1.0, static_cast<double>(rank)};
    meeting.sum(doubles);
    EXPECT_EQ(doubles, (std::vector<double>{3.0, 3.0}));
    std::vector<float> floats(5000, static_cast<float>(rank + 1));
    meeting.sum(floats);
    EXPECT_EQ(floats, std::vector<float>(5000, 6.0F));
    for (unsigned root = 0; root < 3; ++root) {
      std::vector<std::byte> bytes(9, static_cast<std::byte>(rank));
      meeting.broadcast(bytes, root);
      EXPECT_EQ(bytes, std::vector<std::byte>(9, static_cast<std::byte>(root)));
    }
    meeting.barrier();
    EXPECT_EQ(meeting.machines(), 1U);
    EXPECT_EQ(meeting.local_count(), 3U);
    EXPECT_EQ(meeting.own_address(), "");
  }));
}

/// LibTorch's store takes the same port next, while these connections live.
TEST_F(MeetingTest, LeavesThePortToOthers) {
  expect_well(meet({0, 1, 2}, {}, [this](Meeting& meeting) {
    meeting.barrier();
    if (meeting.place().rank == 0) {
      EXPECT_GE(listen_on(options_.port).number(), 0);
    }
    meeting.barrier();
  }));
}

TEST_F(MeetingTest, KnowsTheMachines) {
  const auto machines = [](MeetingOptions& options) {
    options.machine = options.place.rank == 1 ? "second" : "first";
  };
  expect_well(meet({0, 1, 2}, machines, [](Meeting& meeting) {
    EXPECT_EQ(meeting.machines(), 2U);
    EXPECT_EQ(meeting.local_count(), meeting.place().rank == 1 ? 1U : 2U);
    EXPECT_EQ(meeting.own_address(), "127.0.0.1");
  }));
}

TEST_F(MeetingTest, SaysWhoIsWaitedFor) {
  options_.tell_after_seconds = 0.05;
  options_.timeout_seconds = 0.5;
  const std::vector<Outcome> outcomes = meet({0, 1}, {});
  EXPECT_EQ(outcomes[0].code, ErrorCode::runtime);
  EXPECT_THAT(outcomes[0].sentence,
              AllOf(HasSubstr("Rank 2 did not come"), HasSubstr("MASTER_ADDR"),
                    HasSubstr("BERTRAND_JOIN_TIMEOUT")));
  EXPECT_THAT(outcomes[0].told, testing::Contains(AllOf(HasSubstr("Waiting for rank"),
                                                        HasSubstr("of 3 processes are here"))));
  EXPECT_EQ(outcomes[1].code, ErrorCode::elsewhere);
  EXPECT_EQ(outcomes[1].sentence, "") << "rank 0 says it";
}

TEST_F(MeetingTest, RankZeroIsMissed) {
  options_.tell_after_seconds = 0.05;
  options_.timeout_seconds = 0.5;
  const Outcome outcome = meet({2}, {})[0];
  EXPECT_EQ(outcome.code, ErrorCode::runtime);
  const std::string place = "127.0.0.1:" + std::to_string(options_.port);
  EXPECT_THAT(outcome.sentence, AllOf(HasSubstr("Rank 2: rank 0 was not met at " + place),
                                      HasSubstr("Connection refused")));
  EXPECT_THAT(outcome.told, testing::ElementsAre(HasSubstr("waiting for rank 0 at " + place)));
}

TEST_F(MeetingTest, APortThatIsTakenIsSaidWithTheRemedy) {
  const Descriptor taken = listen_on(options_.port);
  const Outcome outcome = meet({0}, {})[0];
  EXPECT_EQ(outcome.code, ErrorCode::runtime) << "no flag is wrong: it may be free soon";
  EXPECT_THAT(outcome.sentence,
              AllOf(HasSubstr(std::to_string(options_.port)), HasSubstr("already in use"),
                    HasSubstr("another --master-port")));
}

TEST_F(MeetingTest, OneOfAnotherRunIsRefusedAndTheRunGoesOn) {
  const std::vector<Outcome> outcomes = meet({0, 1, 2, 7}, [](MeetingOptions& options) {
    if (options.place.rank == 7) options.place.count = 8;
    if (options.place.rank == 2) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  });
  EXPECT_FALSE(outcomes[0].code) << outcomes[0].sentence;
  EXPECT_FALSE(outcomes[2].code) << outcomes[2].sentence;
  EXPECT_EQ(outcomes[3].code, ErrorCode::usage);
  EXPECT_THAT(outcomes[3].sentence, AllOf(HasSubstr("rank 7 of 8"), HasSubstr("--master-port")));
}

TEST_F(MeetingTest, ThoseWhoKnockAtPortsDoNoHarm) {
  expect_well(meet({0, 1, 2}, [this](MeetingOptions& options) {
    if (options.place.rank != 2) return;
    for (const std::string_view text : {"GET / HTTP/1.1\r\n\r\n", "bertrand\n", "", "\n\n"}) {
      std::string why;
      Descriptor stranger;
      while (stranger.number() < 0) stranger = connect_to("127.0.0.1", options_.port, 1, why);
      send_all(stranger.number(), std::as_bytes(std::span(text)));
    }
  }));
}

TEST_F(MeetingTest, OneThatEndsWhileItWaitsEndsTheOthers) {
  const std::jthread second([this] {
    std::string why;
    Descriptor socket;
    while (socket.number() < 0) socket = connect_to("127.0.0.1", options_.port, 1, why);
    const std::string greeting = "bertrand 1 2 3 machine\n";
    send_all(socket.number(), std::as_bytes(std::span(greeting)));
    std::vector<std::byte> here(5);
    EXPECT_TRUE(receive_all(socket.number(), here));
  });
  const Outcome outcome = meet({0}, {})[0];
  EXPECT_EQ(outcome.code, ErrorCode::elsewhere);
  EXPECT_THAT(outcome.sentence, HasSubstr("Rank 2 has ended"));
}

}  // namespace
}  // namespace bertrand
